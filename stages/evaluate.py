"""Ask a checkpoint held-out questions, each with its own images and with another question's.

Reads  Checkpoint, Conversations   the last assistant turn of a conversation is the truth
Makes  Evaluation   phase answer: `answers.parquet`, a row for each question of the part
                    phase evaluate: `metrics.json`, `answers.parquet` of all questions, `contact_sheet.png`

Answers are generated greedily; one is right if it equals the truth after normalisation (`evaluation/scoring.py`). A
question that cannot be asked fails with a reason: it is counted as failed, and enters no accuracy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from pydantic import Field

from stages.artifacts.kinds import ANSWERS_FILE, CONTACT_SHEET_FILE, METRICS_FILE, Checkpoint, Conversations, Evaluation
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, PartFacts, PartTask, Recipe, StageContext, StageError, stage
from stages.evaluation.answering import Answerer, load_answerer
from stages.evaluation.answers import Answer, answer_row, answer_table, answers_to_show, read_answers, scored_answers
from stages.evaluation.blind_control import exchange_images
from stages.evaluation.cards import answer_card
from stages.evaluation.contact_sheet import contact_sheet
from stages.evaluation.questions import Question, image_urls, read_questions
from stages.evaluation.scoring import metrics
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.phase_files import read_file
from stages.formats.sample_table import balance_of, read_table, write_table

NUM_ASKED_TOGETHER = 128
"""Questions that are generated in one batch: their images are in memory at once."""


class EvaluateRecipe(Recipe):
    """How questions are asked and how many answers are shown."""

    max_new_tokens: int = Field(default=32, ge=1)
    """Longest answer, in tokens; generation stops there."""
    max_prompt_tokens: int = Field(default=8192, ge=1)
    """Longest prompt, in tokens, image tokens included; a question with a longer one fails."""
    num_questions_per_part: int = Field(default=500, ge=1)
    """Questions in one part, which is the unit of work that is repeated when a worker dies."""
    num_cards: int = Field(default=25, ge=0)
    """Answers shown on the contact sheet, taken round robin from the kinds of questions."""


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
    task, everything = AnswerTask.of(part), read_questions(questions)
    asked = list(zip(everything, exchange_images(everything), strict=True))[task.start : task.stop]
    pictures = pictures_of(questions)
    answerer = load_answerer(
        checkpoint.copy_to(draft.scratch / "checkpoint"),
        pictures,
        max_prompt_tokens=recipe.max_prompt_tokens,
        max_new_tokens=recipe.max_new_tokens,
    )
    answers: list[Answer] = []
    for start in range(0, len(asked), NUM_ASKED_TOGETHER):
        answers += answer_together(answerer, pictures, asked[start : start + NUM_ASKED_TOGETHER])
        draft.progress(len(answers))
    table = answer_table(answers)
    write_table(table, draft.path(ANSWERS_FILE))
    draft.count(balance_of(table))


def answer_together(
    answerer: Answerer, pictures: PairReader, asked: Sequence[tuple[Question, tuple[bytes, ...] | None]]
) -> list[Answer]:
    """Answer each question with its own images and, if it has a blind control, with another question's."""
    sighted = [answerer.prompt(question, question.image_ids) for question, _ in asked]
    blind = [None if others is None else answerer.prompt(question, others) for question, others in asked]
    replies = answerer.answers([*sighted, *blind])
    return [
        answer_row(question, image_urls(pictures, question), reply, others or (), blind_reply)
        for (question, others), reply, blind_reply in zip(
            asked, replies[: len(asked)], replies[len(asked) :], strict=True
        )
    ]


def score_part(
    part: Part, draft: PartDraft, recipe: EvaluateRecipe, answered_parts: Sequence[PartRecord], questions: Conversations
) -> None:
    """Score the answers of all parts of phase `answer` and draw the contact sheet."""
    import pyarrow as pa

    # The answers belong to the evaluation that is being made, not to `questions`: they are read by their own records.
    files = (read_file(questions.store, record, ANSWERS_FILE) for record in answered_parts)
    table = pa.concat_tables([read_table(data) for data in files])
    answers = read_answers(table)
    balance = balance_of(table)
    numbers = metrics(scored_answers(answers), num_failed=balance.num_failed)
    pictures = pictures_of(questions)
    cards = [answer_card(answer, pictures) for answer in answers_to_show(answers, recipe.num_cards)]
    draft.path(CONTACT_SHEET_FILE).write_bytes(contact_sheet(cards, numbers, ScoreTask.of(part).title))
    draft.path(METRICS_FILE).write_text(json.dumps(numbers, indent=2) + "\n")
    write_table(table, draft.path(ANSWERS_FILE))
    draft.fact(**EvaluationFacts(metrics=numbers).dump())
    draft.count(balance)


@stage(number=1, recipe=EvaluateRecipe, makes=Evaluation)
def evaluate(recipe: EvaluateRecipe, checkpoint: Checkpoint, questions: Conversations, *, ctx: StageContext) -> None:
    """Answer the questions in slices, then score all answers in one part; reports the metrics."""
    num_questions, size = questions.manifest.items.kept, recipe.num_questions_per_part
    if num_questions == 0:
        raise StageError(f"{questions!r} holds no conversation to ask; look at why: `neo show {questions.short}`")
    slices = [(start, min(start + size, num_questions)) for start in range(0, num_questions, size)]
    over = [
        Part(name=f"{number:05d}", task=AnswerTask(start=start, stop=stop).dump(), num_items=stop - start)
        for number, (start, stop) in enumerate(slices)
    ]
    answering = partial(answer_part, recipe=recipe, checkpoint=checkpoint, questions=questions)
    records = ctx.spread(answering, over=over, phase="answer")
    title = f"{checkpoint.manifest.stage}/{checkpoint.short} asked {questions.manifest.stage}/{questions.short}"
    whole = Part(name="00000", task=ScoreTask(title=title).dump(), num_items=num_questions)
    scoring = partial(score_part, recipe=recipe, answered_parts=records, questions=questions)
    (record,) = ctx.spread(scoring, over=[whole], phase="evaluate")
    ctx.report(EvaluationFacts.of(record).metrics)
