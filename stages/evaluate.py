"""Ask a checkpoint held-out questions, each with its own images and clips, and with another question's.

Reads  Checkpoint, Conversations   the last assistant turn of a conversation is the truth
       RawPairs or KeptPairs   `pairs`, if any: held-out pairs, whose captions and pictures are looked up
Makes  Evaluation   phase answer: `answers.parquet`, a row for each question of the part
                    phase embed: `vectors.parquet`, a row for each pair of the part, where there are pairs
                    phase evaluate: `metrics.json`, `answers.parquet` of all questions, `contact_sheet.png`

Answers are generated greedily, and scored by the rule of their question: equality with the truth after normalisation,
the option that is chosen, mean relative accuracy, or a rule of a public evaluation kit (`evaluation/scoring.py`). A
question that cannot be asked fails with a reason: it is counted as failed, and enters no accuracy. A clip with more
frames than `max_frames`, or than its prompt has room for, shows fewer; the answer table has both numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from neo_model.config import NeoConfig
from stages.artifacts.kinds import (
    ANSWERS_FILE,
    CONTACT_SHEET_FILE,
    METRICS_FILE,
    Checkpoint,
    Conversations,
    Evaluation,
    KeptPairs,
    RawPairs,
)
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.benchmarks.benchmark import PixelRange
from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.video_sets import VIDEO_PIXELS
from stages.contract import Part, PartDraft, PartFacts, PartTask, Recipe, StageContext, StageError, conduct, stage
from stages.evaluation.answering import Answerer, AskedPrompt, frames_shown, load_model_folder, media_reader
from stages.evaluation.answers import (
    Answer,
    Replies,
    answer_row,
    answer_table,
    answers_to_show,
    read_answers,
    scored_answers,
)
from stages.evaluation.benchmark_scores import benchmark_scores, counted_answers
from stages.evaluation.blind_control import Media, exchange_media
from stages.evaluation.cards import answer_card
from stages.evaluation.contact_sheet import contact_sheet
from stages.evaluation.metrics import metrics
from stages.evaluation.questions import Question, QuestionTrouble, image_urls, read_questions
from stages.evaluation.retrieval.embedding import EmbedTask, PairVectors, embed_pairs, embed_parts
from stages.evaluation.retrieval.looked_up import retrieval_numbers, trained_for_retrieval
from stages.evaluation.trained_on import refuse_trained_on
from stages.formats.clip_reader import clips_of
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.sample_table import balance_of, read_table, write_table

NUM_ASKED_TOGETHER = 128
"""Questions that are answered together, at most: their images are in memory at once."""
TOKENS_ASKED_TOGETHER = 131_072
"""Tokens of prompts that are answered together, at most: 400 MB of patches, where all are of images and frames."""


class EvaluateRecipe(Recipe):
    """How questions are asked and how many answers are shown."""

    max_new_tokens: int = Field(default=32, ge=1)
    """Longest answer, in tokens; generation stops there."""
    max_prompt_tokens: int = Field(default=8192, ge=1)
    """Longest prompt, in tokens, image tokens included; a question with a longer one fails."""
    min_pixels_px: int | None = Field(default=None, ge=1)
    """Fewest pixels of an image after resizing; None takes the checkpoint's."""
    max_pixels_px: int | None = Field(default=None, ge=1)
    """Most pixels of an image after resizing; None takes the checkpoint's."""
    min_frame_pixels_px: int = Field(default=VIDEO_PIXELS.min_pixels_px, ge=1)
    """Fewest pixels of a frame of a clip after resizing."""
    max_frame_pixels_px: int = Field(default=VIDEO_PIXELS.max_pixels_px, ge=1)
    """Most pixels of a frame of a clip after resizing."""
    max_frames: int = Field(default=256, ge=1)
    """Most frames of a clip that are shown; of a clip with more, those at interior points of equal distance."""
    blind_control: bool = True
    """Whether each question with pictures or clips is asked once more with those of another question of its kind, which
    shows what the words alone give away; False halves the work."""
    shuffled_control: bool = False
    """Whether each question about a clip is asked once more with the frames in another order, their times in place."""
    numeric_kinds: tuple[str, ...] = ()
    """Kinds of questions whose answers are numbers, to be scored by mean relative accuracy, where the questions were
    read by a stage that does not say how they are scored."""
    num_questions_per_part: int = Field(default=500, ge=1)
    """Questions or pairs in one part, which is the unit of work that is repeated when a worker dies."""
    num_retrieval_pairs: int = Field(default=10_000, ge=1)
    """Most pairs of `pairs` whose pictures and captions are looked up among each other: the first ones in table order.
    Recall falls with their number, so it is compared among as many alone."""
    allow_trained_on: bool = conduct(False)
    """Whether questions are asked although, by its lineage, the checkpoint was trained on the samples that they were
    made from."""
    num_cards: int = Field(default=25, ge=0)
    """Answers shown on the contact sheet, taken round robin from the kinds of questions."""

    @model_validator(mode="after")
    def _check_pixels(self) -> Self:
        for fewest, most in (
            (self.min_pixels_px or 0, self.max_pixels_px or self.min_pixels_px or 0),
            (self.min_frame_pixels_px, self.max_frame_pixels_px),
        ):
            if fewest > most:
                raise ValueError(f"a picture of at least {fewest} and at most {most} pixels: exchange the two")
        return self

    def image_pixels(self, config: NeoConfig) -> PixelRange:
        """Pixels of an image after resizing: the recipe's where it has them, else the checkpoint's."""
        return PixelRange(self.min_pixels_px or config.min_pixels_px, self.max_pixels_px or config.max_pixels_px)


class AnswerTask(PartTask):
    """The task of a part of phase `answer`: a slice of the kept conversations."""

    start: int
    stop: int


class ScoreTask(PartTask):
    """The task of the one part of phase `evaluate`."""

    title: str
    """Headline of the contact sheet."""


class EvaluationFacts(PartFacts):
    """Facts of the one record of phase `evaluate`."""

    metrics: dict[str, int | float]


def answer_part(
    part: Part, draft: PartDraft, recipe: EvaluateRecipe, checkpoint: Checkpoint, questions: Conversations
) -> None:
    """Answer one slice of the questions.

    Every part reads all questions, because the blind control exchanges images between questions of different parts.
    """
    task, everything = AnswerTask.of(part), read_questions(questions, numeric_kinds=recipe.numeric_kinds)
    others = exchange_media(everything) if recipe.blind_control else [None] * len(everything)
    asked = list(zip(everything, others, strict=True))[task.start : task.stop]
    draft.busy("reading the model")
    with checkpoint.linked_in(draft.scratch / "checkpoint") as folder:
        model, tokenizer = load_model_folder(folder)
    draft.busy("answering")
    media = media_reader(
        questions,
        model.config,
        image_pixels=recipe.image_pixels(model.config),
        frame_pixels=PixelRange(recipe.min_frame_pixels_px, recipe.max_frame_pixels_px),
        max_frames=recipe.max_frames,
    )
    answerer = Answerer(
        model=model,
        tokenizer=tokenizer,
        media=media,
        max_prompt_tokens=recipe.max_prompt_tokens,
        max_new_tokens=recipe.max_new_tokens,
    )
    answers: list[Answer] = []
    prepared = (prepare(answerer, question, others, recipe) for question, others in asked)
    for group in in_groups(prepared):
        answers += answer_together(answerer, group)
        draft.progress(len(answers))
    table = answer_table(answers)
    write_table(table, draft.path(ANSWERS_FILE))
    draft.count(balance_of(table))


class PreparedQuestion(NamedTuple):
    """A question and all that is asked of it: its prompt, its blind control and its shuffled control."""

    question: Question
    own: AskedPrompt | QuestionTrouble
    blind: AskedPrompt | QuestionTrouble | None
    blind_media: Media | None
    shuffled: AskedPrompt | QuestionTrouble | None

    @property
    def prompts(self) -> list[AskedPrompt | QuestionTrouble | None]:
        """The three prompts."""
        return [self.own, self.blind, self.shuffled]

    @property
    def num_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(one.num_tokens for one in self.prompts if isinstance(one, AskedPrompt))


def prepare(answerer: Answerer, question: Question, others: Media | None, recipe: EvaluateRecipe) -> PreparedQuestion:
    """The prompts of a question; `others` are the images and clips of its blind control, None where it has none."""
    return PreparedQuestion(
        question=question,
        own=answerer.prompt(question, question.media),
        shuffled=answerer.prompt(question, question.media, is_shuffled=True)
        if recipe.shuffled_control and question.clip_ids
        else None,
        blind=None if others is None else answerer.prompt(question, others),
        blind_media=others,
    )


def in_groups(prepared: Iterable[PreparedQuestion]) -> Iterator[list[PreparedQuestion]]:
    """The questions in groups of at most `NUM_ASKED_TOGETHER` and `TOKENS_ASKED_TOGETHER`, one at least in each."""
    group: list[PreparedQuestion] = []
    num_tokens = 0
    for one in prepared:
        if group and (len(group) == NUM_ASKED_TOGETHER or num_tokens + one.num_tokens > TOKENS_ASKED_TOGETHER):
            yield group
            group, num_tokens = [], 0
        group.append(one)
        num_tokens += one.num_tokens
    if group:
        yield group


def answer_together(answerer: Answerer, group: Sequence[PreparedQuestion]) -> list[Answer]:
    """Answer a group of questions and their controls in one batch."""
    replies = iter(answerer.answers([prompt for one in group for prompt in one.prompts]))
    rows = []
    for one in group:
        own, blind, shuffled = next(replies), next(replies), next(replies)
        frames = frames_shown(one.own)
        row = Replies(
            own=own,
            blind=blind,
            blind_media=one.blind_media,
            shuffled=shuffled,
            num_frames=frames.num_frames,
            num_frames_kept=frames.num_frames_kept,
        )
        rows.append(answer_row(one.question, image_urls(answerer.media.pictures, one.question), row))
    return rows


def embed_part(
    part: Part, draft: PartDraft, recipe: EvaluateRecipe, checkpoint: Checkpoint, pairs: KeptPairs | RawPairs
) -> None:
    """Make the vectors of one slice of the pairs."""
    draft.busy("reading the model")
    with checkpoint.linked_in(draft.scratch / "checkpoint") as folder:
        model, tokenizer = load_model_folder(folder)
    draft.busy("making vectors of pairs")
    vectors = PairVectors(
        model, tokenizer, PairReader(pairs), recipe.image_pixels(model.config), recipe.max_prompt_tokens
    )
    embed_pairs(draft, EmbedTask.of(part), vectors)


class Retrieved(NamedTuple):
    """The pairs that were embedded."""

    parts: tuple[PartRecord, ...] = ()
    """Records of phase `embed`; () where the evaluation was given no pairs."""
    trained: bool | None = None
    """Whether the checkpoint was trained for retrieval; None where its lineage does not tell."""


NOTHING_RETRIEVED = Retrieved()
"""Where an evaluation has no pairs."""


def score_part(  # noqa: PLR0917 - a spread gives the first two, the stage the others
    part: Part,
    draft: PartDraft,
    recipe: EvaluateRecipe,
    answered_parts: Sequence[PartRecord],
    questions: Conversations,
    retrieved: Retrieved = NOTHING_RETRIEVED,
) -> None:
    """Score the answers of all parts of phase `answer`, look up the pairs of phase `embed`, draw the contact sheet."""
    import pyarrow as pa

    # The answers belong to the evaluation that is being made, not to `questions`: they are read by their own records.
    files = (read_file(questions.store, record, ANSWERS_FILE) for record in answered_parts)
    table = pa.concat_tables([read_table(data) for data in files])
    answers = read_answers(table)
    balance = balance_of(table)
    scored = scored_answers(answers)
    benchmark = next((one for one in BENCHMARKS.values() if one.name == questions.head.recipe.get("benchmark")), None)
    # A question of several kinds counts in each, and so it does in its authors' score; in all else it counts once.
    counted = counted_answers(scored, benchmark) if benchmark else scored
    numbers = metrics(scored, num_failed=balance.num_failed, of_kinds=counted)
    if benchmark:
        numbers |= benchmark_scores(counted, benchmark)
    found = retrieval_numbers(questions.store, retrieved.parts, draft.scratch / "vectors", trained=retrieved.trained)
    numbers |= found
    pictures, clips = pictures_of(questions), clips_of(questions)
    cards = [answer_card(answer, pictures, clips) for answer in answers_to_show(answers, recipe.num_cards)]
    draft.path(CONTACT_SHEET_FILE).write_bytes(contact_sheet(cards, numbers, ScoreTask.of(part).title))
    draft.path(METRICS_FILE).write_text(json.dumps(numbers, indent=2) + "\n")
    write_table(table, draft.path(ANSWERS_FILE))
    draft.fact(**EvaluationFacts(metrics=numbers).dump())
    draft.count(balance)


def embedded(
    recipe: EvaluateRecipe, checkpoint: Checkpoint, pairs: KeptPairs | RawPairs | None, ctx: StageContext
) -> Retrieved:
    """The pairs of an evaluation, embedded in parts; nothing where it has none."""
    if pairs is None:
        return NOTHING_RETRIEVED
    if not (over := embed_parts(pairs, recipe.num_retrieval_pairs, recipe.num_questions_per_part)):
        raise StageError(f"{pairs!r} holds no pair to look up; look at why: `neo show {pairs.short}`")
    embedding = partial(embed_part, recipe=recipe, checkpoint=checkpoint, pairs=pairs)
    return Retrieved(ctx.spread(embedding, over=over, phase="embed"), trained_for_retrieval(checkpoint))


@stage(number=4, recipe=EvaluateRecipe, makes=Evaluation, accepts=(1, 2), phases=("answer", "embed", "evaluate"))
def evaluate(
    recipe: EvaluateRecipe,
    checkpoint: Checkpoint,
    questions: Conversations,
    pairs: KeptPairs | RawPairs | None,
    *,
    ctx: StageContext,
) -> None:
    """Answer the questions in slices and embed the pairs, then score all in one part; reports the metrics."""
    measured_on = [one for one in (questions, pairs) if one is not None and not recipe.allow_trained_on]
    known = [refuse_trained_on(checkpoint, one) for one in measured_on]
    num_questions, size = questions.head.items.kept, recipe.num_questions_per_part
    if num_questions == 0:
        raise StageError(f"{questions!r} holds no conversation to ask; look at why: `neo show {questions.short}`")
    slices = [(start, min(start + size, num_questions)) for start in range(0, num_questions, size)]
    over = [
        Part(name=f"{number:05d}", task=AnswerTask(start=start, stop=stop).dump(), num_items=stop - start)
        for number, (start, stop) in enumerate(slices)
    ]
    answering = partial(answer_part, recipe=recipe, checkpoint=checkpoint, questions=questions)
    records = ctx.spread(answering, over=over, phase="answer")
    title = f"{checkpoint.head.stage}/{checkpoint.short} asked {questions.head.stage}/{questions.short}"
    whole = Part(name="00000", task=ScoreTask(title=title).dump(), num_items=num_questions)
    retrieved = embedded(recipe, checkpoint, pairs, ctx)
    scoring = partial(score_part, recipe=recipe, answered_parts=records, questions=questions, retrieved=retrieved)
    (record,) = ctx.spread(scoring, over=[whole], phase="evaluate")
    not_checked = {} if all(known) else {"num_lineages_not_checked": 1}
    ctx.report(EvaluationFacts.of(record).metrics | not_checked)
