"""What training is examined on every so many steps: rows and questions that it never trains on.

Owns the loss on held-out rows, the answers to a few held-out questions and their picture, and the refusal of what is
trained on. An examination draws nothing by chance and changes nothing, so training ends with the same bits
with and without it. All ranks pass the same modules in the same order, as ZeRO-3 needs: each takes its share of the
rows, and answers all of the few questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import Conversations, Rows
from stages.artifacts.manifest import read_head
from stages.contract import Rank, StageError
from stages.formats.rows import RowReader
from stages.training.recipe import TrainRecipe

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from neo_model.model import NeoModel
    from stages.evaluation.answering import Answerer
    from stages.evaluation.answers import Answer
    from stages.evaluation.questions import Question
    from stages.training.engine.engine import Engine
    from stages.training.loading.micro_batches import MicroBatch, StepLoader

HELDOUT_LOSS = "heldout_loss"
"""The fact that says how good an examined checkpoint is."""
PREFIX = "heldout/"
"""Begins the names of an examination's numbers."""
MAX_PROMPT_TOKENS = 8192


@dataclass(frozen=True)
class Examination:
    """Held-out rows and questions; either may be missing."""

    rows: Rows | None
    questions: Conversations | None

    def check(self, trained_on: Sequence[Rows]) -> None:
        """Raise `StageError` where held-out samples are trained on, or where rows to be examined on are."""
        for rows in trained_on:
            if _purpose(rows) == "examine":
                raise StageError(
                    f"{rows!r} was drawn to examine a model on (purpose='examine'); bind it as `heldout_rows`, and to "
                    "`rows` what was drawn for training"
                )
        unseen = self._sample_ids()
        for rows in trained_on if unseen else ():
            if seen := RowReader(rows).samples.rows_of_many(unseen):
                first = min(seen)
                raise StageError(
                    f"{len(seen)} held-out samples are trained on: sample {first.hex()} is in row {seen[first][0]} of "
                    f"{rows!r}; give what is held out to `mix_samples` as `heldout`, and pack the rows again"
                )

    def examiner(
        self, rank: Rank, recipe: TrainRecipe, rows: Sequence[Rows], config: NeoConfig, tokenizer_folder: Path
    ) -> Examiner:
        """What examines a training on these rows; where nothing is held out, it finds nothing."""
        from stages.training.loading.micro_batches import Packed

        config = config.with_pixels(**Packed.of(rows[-1]).pixel_range)
        return Examiner(rank, recipe, self, rows, config, tokenizer_folder)

    def _sample_ids(self) -> set[bytes]:
        found: set[bytes] = set()
        if self.rows is not None:
            for sample_ids in RowReader(self.rows).index("sample_ids")["sample_ids"].to_pylist():
                found.update(sample_ids)
        if self.questions is not None:
            from stages.evaluation.questions import read_questions

            for question in read_questions(self.questions):
                found.update((question.sample_id, *question.image_ids))
        return found


def _purpose(rows: Rows) -> str:
    """What the rows were drawn for, `train` where nothing says so."""
    draw = rows.manifest.inputs.get("draw")
    head = None if draw is None else read_head(rows.store, draw.stage, draw.fingerprint)
    return "train" if head is None else str(head.recipe.get("purpose", "train"))


@dataclass
class Examiner:
    """One rank's part in the examinations of a training; called after each step."""

    rank: Rank
    recipe: TrainRecipe
    examination: Examination
    trained_on: Sequence[Rows]
    config: NeoConfig
    tokenizer_folder: Path

    def __call__(self, num_done: int, engine: Engine) -> Mapping[str, Any]:
        """Examine the network where it is time to; returns the facts for its checkpoint. Collective."""
        if not self.recipe.is_examined(num_done):
            return {}
        losses = self._losses(engine, num_done) if self.examination.rows is not None else {}
        answers = self._answers(engine) if self.examination.questions is not None else []
        if self.rank.rank == 0 and (losses or answers):
            self._show(num_done, losses, answers)
        return {HELDOUT_LOSS: losses["loss"]} if losses else {}

    def _losses(self, engine: Engine, num_done: int) -> dict[str, float]:
        """`loss` over the held-out rows, nats for each unit of loss weight, and `loss/<source>` of several."""
        from stages.training.collectives import exchange
        from stages.training.metrics import add, losses_by_source

        mine: dict[str, tuple[float, float]] = {}
        for micro_batch, counts in self._micro_batches:
            sums = engine.evaluate(micro_batch.batch)
            add(mine, losses_by_source(micro_batch, sums.entropies) if counts else {})
        totals: dict[str, tuple[float, float]] = {}
        for theirs in exchange(mine):
            add(totals, theirs)
        total, weight = (sum(pair[place] for pair in totals.values()) for place in (0, 1))
        if not math.isfinite(total) or weight <= 0:
            raise StageError(
                f"after step {num_done} the loss on the held-out rows is {total} over a weight of {weight}"
            )
        by_name = {f"loss/{source}": total / weight for source, (total, weight) in sorted(totals.items()) if weight > 0}
        return {"loss": total / weight, **(by_name if len(by_name) > 1 else {})}

    @cached_property
    def _micro_batches(self) -> list[tuple[MicroBatch, bool]]:
        """The held-out rows of this rank, one at a time, as many on every rank; and whether each counts."""
        from stages.training.loading.micro_batches import Fetched, Packed

        assert self.examination.rows is not None
        packed = Packed.of(self.examination.rows)
        num_rows = min(self.recipe.num_heldout_rows, packed.reader.num_rows)
        found = []
        for first in range(0, num_rows, self.rank.world_size):
            row = first + self.rank.rank
            fetched = Fetched(packed, (packed.reader.read(min(row, num_rows - 1)),))
            found.append((self._loader.decode(fetched), row < num_rows))
        return found

    @cached_property
    def _loader(self) -> StepLoader:
        from stages.training.loading.micro_batches import StepLoader

        return StepLoader.of(self.recipe, self.trained_on, self.rank, self.config)

    def _answers(self, engine: Engine) -> list[Answer]:
        from stages.evaluation.answers import answer_row
        from stages.evaluation.questions import image_urls
        from stages.formats.pairs import pictures_of

        def ask(model: NeoModel) -> list[Any]:
            answerer = self._answerer(model)
            return answerer.answers([answerer.prompt(question, question.image_ids) for question in self._questions])

        assert self.examination.questions is not None
        pictures = pictures_of(self.examination.questions)
        return [
            answer_row(question, image_urls(pictures, question), said, (), None)
            for question, said in zip(self._questions, engine.show(ask), strict=True)
        ]

    @cached_property
    def _questions(self) -> list[Question]:
        from stages.evaluation.answers import round_robin_by_kind
        from stages.evaluation.questions import read_questions

        assert self.examination.questions is not None
        fit = [question for question in read_questions(self.examination.questions) if question.trouble is None]
        return round_robin_by_kind(fit)[: self.recipe.num_answers]

    def _answerer(self, model: NeoModel) -> Answerer:
        from neo_model.inputs.conversation import load_tokenizer
        from stages.evaluation.answering import Answerer, patch_reader
        from stages.formats.pairs import pictures_of

        assert self.examination.questions is not None
        return Answerer(
            model=model,
            tokenizer=load_tokenizer(self.tokenizer_folder, vocab_size=self.config.vocab_size),
            patches_of=patch_reader(pictures_of(self.examination.questions), self.config),
            max_prompt_tokens=MAX_PROMPT_TOKENS,
            max_new_tokens=self.recipe.max_answer_tokens,
        )

    def _show(self, num_done: int, losses: Mapping[str, float], answers: Sequence[Answer]) -> None:
        """Numbers and a contact sheet, for people to watch."""
        from stages.evaluation.answers import scored_answers
        from stages.evaluation.cards import answer_card
        from stages.evaluation.contact_sheet import contact_sheet
        from stages.evaluation.scoring import metrics
        from stages.formats.pairs import pictures_of

        numbers = dict(losses)
        if answers and self.examination.questions is not None:
            marks = scored_answers(answers)
            found = metrics(marks, num_failed=len(answers) - len(marks))
            numbers |= {name: found[name] for name in ("accuracy",) if name in found}
            pictures = pictures_of(self.examination.questions)
            cards = [answer_card(answer, pictures) for answer in answers if answer.correct is not None]
            title = f"after {num_done:,} of {self.recipe.num_steps:,} steps"
            self.rank.keep_picture("answers", contact_sheet(cards, found, title), num_done)
        self.rank.report({f"{PREFIX}{name}": number for name, number in numbers.items()}, at_step=num_done)
