"""Examination of a model in training on its held-out set: loss on rows, answers to a few questions and their picture.

Owns when it happens and what it reports. It draws nothing at random and changes nothing, so training ends with the same
bits with and without it. All ranks run the same modules in the same order, as ZeRO-3 needs: each takes its share of the
rows, and each answers all of the few questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from neo_model.config import NeoConfig
from neo_model.inputs.conversation import load_tokenizer
from neo_model.model import NeoModel
from stages.artifacts.kinds import Conversations, Rows
from stages.artifacts.records import EXAMINED_FACT
from stages.benchmarks.benchmark import PixelRange
from stages.contract import Rank, StageError
from stages.evaluation.answering import Answerer, frames_shown, media_reader
from stages.evaluation.answers import Answer, Replies, answer_row, round_robin_by_kind, scored_answers
from stages.evaluation.cards import answer_card
from stages.evaluation.contact_sheet import contact_sheet
from stages.evaluation.metrics import metrics
from stages.evaluation.questions import Question, image_urls, read_questions
from stages.formats.clip_reader import clips_of
from stages.formats.fit_sample import MAX_FRAME_PIXELS_PX, MAX_FRAMES, MIN_FRAME_PIXELS_PX
from stages.formats.packed_rows.rows import DamagedRowError
from stages.formats.pairs import pictures_of
from stages.training.checkpoints.facts import Examined
from stages.training.collectives import gather_values, run_on_all, taken_by_rank_0
from stages.training.engine.engine import Engine
from stages.training.held_out import HeldOut
from stages.training.loading.micro_batches import FetchedRows, MicroBatch, PackedRows, StepLoader
from stages.training.metrics import add, losses_by_source
from stages.training.recipe import TrainRecipe

PREFIX: Final = "heldout/"
"""Begins the names of an examination's metrics."""
MAX_PROMPT_TOKENS: Final = 8192
MAX_CACHE_BYTES: Final = 2**31
"""Keys and values of the prompts that are answered as one batch, 2 GiB: the optimizer's states leave no more room."""


class Examiner(Protocol):
    """What the training loop calls after each step, before the step's checkpoint is taken."""

    def examine(self, num_done: int, engine: Engine) -> Mapping[str, Any]:
        """Facts for the checkpoint after `num_done` steps. Collective."""


class NoHeldOut:
    """Training with nothing held out is not examined."""

    def examine(self, num_done: int, engine: Engine) -> Mapping[str, Any]:
        """No facts, at any step."""
        del num_done, engine
        return {}


class Measure(Protocol):
    """One kind of examination."""

    def measure(self, num_done: int, engine: Engine) -> dict[str, float]:
        """Metrics of the model after `num_done` steps, the same on every rank. Collective."""


@dataclass(frozen=True)
class HeldOutExaminer:
    """Examines one rank's model at the steps that the recipe names, by one measure after the other."""

    rank: Rank
    recipe: TrainRecipe
    measures: Sequence[Measure]
    held_out: Rows | None = None
    """The rows on which the loss is taken, if any."""

    def examine(self, num_done: int, engine: Engine) -> Mapping[str, Any]:
        """The held-out loss as the fact `examined`, where it is time to and rows are held out. Collective."""
        if not self.recipe.is_examined(num_done):
            return {}
        numbers: dict[str, float] = {}
        self.rank.busy("examining the model on what is held out")
        for one in self.measures:
            numbers |= one.measure(num_done, engine)
        if self.rank.rank == 0 and numbers:
            self.rank.report({f"{PREFIX}{name}": number for name, number in numbers.items()}, at_step=num_done)
        if "loss" not in numbers or self.held_out is None:
            return {}
        examined = Examined(loss=numbers["loss"], rows=self.held_out.fingerprint, num_rows=self.recipe.num_heldout_rows)
        return {EXAMINED_FACT: examined.model_dump()}


def examiner_of(
    held_out: HeldOut,
    rank: Rank,
    recipe: TrainRecipe,
    trained_on: Sequence[Rows],
    *,
    config: NeoConfig,
    tokenizer_folder: Path,
) -> Examiner:
    """The examiner of a training on the rows `trained_on`, whose last fix the size of pictures."""
    config = config.with_pixels(**PackedRows.of(trained_on[-1]).pixel_range)
    measures: list[Measure] = []
    if held_out.rows is not None:
        loader = StepLoader.of(recipe, trained_on, rank, config)
        measures.append(RowLoss(rank, held_out.rows, loader, recipe.num_heldout_rows))
    if held_out.questions is not None:
        shown = ShownFrames.of(trained_on[-1])
        measures.append(QuestionAnswers(rank, held_out.questions, recipe, config, tokenizer_folder, shown))
    return HeldOutExaminer(rank, recipe, measures, held_out.rows) if measures else NoHeldOut()


@dataclass
class RowLoss:
    """The loss on held-out rows."""

    rank: Rank
    rows: Rows
    loader: StepLoader
    max_rows: int

    def measure(self, num_done: int, engine: Engine) -> dict[str, float]:
        """`loss` in nats for each unit of loss weight, and `loss/<source>` where there are several sources.

        Raises `StageError` where the loss is not finite or no token has a weight.
        """
        mine: dict[str, tuple[float, float]] = {}
        for micro_batch, counts in self._micro_batches:
            sums = engine.evaluate(micro_batch.batch)
            add(mine, losses_by_source(micro_batch, sums.entropies) if counts else {})
        totals: dict[str, tuple[float, float]] = {}
        for theirs in gather_values(mine):
            add(totals, theirs)
        total, weight = (sum(pair[part] for pair in totals.values()) for part in (0, 1))
        if not math.isfinite(total) or weight <= 0:
            raise StageError(
                f"after step {num_done} the loss on the held-out rows is {total} over a weight of {weight}"
            )
        by_name = {f"loss/{source}": total / weight for source, (total, weight) in sorted(totals.items()) if weight > 0}
        return {"loss": total / weight, **(by_name if len(by_name) > 1 else {})}

    @cached_property
    def _micro_batches(self) -> list[tuple[MicroBatch, bool]]:
        """The held-out rows of this rank, or its shares of them, one at a time, as many on every rank; and whether each
        counts.

        With 5 rows, rank 0 of 2 has rows 0, 2, 4 and rank 1 has rows 1, 3, 4: the last fills up and does not count.
        A damaged row does not count either, where the recipe has damaged rows skipped: on any rank, because ranks
        that share a row must all have it or none. Collective.
        """
        packed, place = PackedRows.of(self.rows), self.loader.place
        num_rows = min(self.max_rows, packed.reader.num_rows)
        numbers = range(place.group, -(-num_rows // place.num_groups) * place.num_groups, place.num_groups)
        rows = [min(number, num_rows - 1) for number in numbers]
        loaded: dict[int, MicroBatch] = {}
        unread = run_on_all(lambda: self._load(packed, rows, loaded), "held-out rows")
        left_out = set[int]().union(*unread)
        micro_batches = []
        for number, row in zip(numbers, rows, strict=True):
            micro_batch = self.loader.decode(FetchedRows(packed, ())) if row in left_out else loaded[row]
            micro_batches.append((micro_batch, number < num_rows and row not in left_out))
        return micro_batches

    def _load(self, packed: PackedRows, rows: Iterable[int], loaded: dict[int, MicroBatch]) -> set[int]:
        """Load rows into `loaded`; returns those that are damaged and skipped."""
        damaged = set()
        for row in rows:
            try:
                loaded[row] = self.loader.decode(FetchedRows(packed, (packed.reader.read(row),)))
            except DamagedRowError as error:
                if not self.loader.skips_damage:
                    raise
                self.rank.warn(f"a held-out row is left out: {error}")
                damaged.add(row)
        return damaged


class ShownFrames(NamedTuple):
    """How the frames of clips are shown: as in the rows of the training, as far as a prompt has room."""

    pixels: PixelRange
    """Pixels of a frame after resizing."""
    max_frames: int
    """Most frames of a clip."""

    @classmethod
    def of(cls, rows: Rows) -> ShownFrames:
        """As these rows have them, or would by default where they were packed before there were clips."""
        sizes = {"min_frame_pixels_px": MIN_FRAME_PIXELS_PX, "max_frame_pixels_px": MAX_FRAME_PIXELS_PX}
        recipe = {**sizes, "max_frames": MAX_FRAMES, **rows.head.recipe}
        return cls(PixelRange(recipe["min_frame_pixels_px"], recipe["max_frame_pixels_px"]), recipe["max_frames"])


@dataclass
class QuestionAnswers:
    """Answers to a few held-out questions, scored and drawn on a contact sheet."""

    rank: Rank
    questions: Conversations
    recipe: TrainRecipe
    config: NeoConfig
    tokenizer_folder: Path
    shown: ShownFrames

    def measure(self, num_done: int, engine: Engine) -> dict[str, float]:
        """`accuracy`, and `mra` of numbers, where any answer could be scored; rank 0 keeps the contact sheet."""
        answers = self._answers(engine)
        if not answers:
            return {}
        scored = scored_answers(answers)
        numbers = metrics(scored, num_failed=len(answers) - len(scored))
        if self.rank.rank == 0:
            pictures, clips = pictures_of(self.questions), clips_of(self.questions)
            cards = [answer_card(answer, pictures, clips) for answer in answers if answer.correct is not None]
            title = f"after {num_done:,} of {self.recipe.last_step:,} steps"
            self.rank.keep_picture("answers", contact_sheet(cards, numbers, title), num_done)
        return {name: numbers[name] for name in ("accuracy", "mra") if name in numbers}

    def _answers(self, engine: Engine) -> list[Answer]:
        def ask(model: NeoModel) -> list[Replies]:
            answerer = self._answerer(model)
            prompts = [answerer.prompt(question, question.media) for question in self._asked]
            return [
                Replies(own=reply, num_frames=shown.num_frames, num_frames_kept=shown.num_frames_kept)
                for shown, reply in zip(map(frames_shown, prompts), answerer.answers(prompts), strict=True)
            ]

        pictures = pictures_of(self.questions)
        return [
            answer_row(question, image_urls(pictures, question), replies)
            for question, replies in zip(self._asked, engine.use_model(ask), strict=True)
        ]

    @cached_property
    def _asked(self) -> list[Question]:
        """The questions that are asked each time, each kind in turn."""
        fit = [question for question in read_questions(self.questions) if question.trouble is None]
        return round_robin_by_kind(fit)[: self.recipe.num_answers]

    def _answerer(self, model: NeoModel) -> Answerer:
        return Answerer(
            model=model,
            tokenizer=load_tokenizer(self.tokenizer_folder, vocab_size=self.config.vocab_size),
            media=media_reader(
                self.questions, self.config, frame_pixels=self.shown.pixels, max_frames=self.shown.max_frames
            ),
            max_prompt_tokens=MAX_PROMPT_TOKENS,
            max_new_tokens=self.recipe.max_answer_tokens,
            max_cache_bytes=MAX_CACHE_BYTES,
            agree=partial(taken_by_rank_0, device=self.rank.device),
        )
