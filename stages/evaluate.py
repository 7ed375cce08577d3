"""Ask a checkpoint held-out questions, each with its own images and with another question's.

Reads  Checkpoint, Conversations   the last assistant turn of a conversation is the truth
Makes  Evaluation   phase answer: `answers.parquet`, a row for each question of the part
                    phase evaluate: `metrics.json`, `answers.parquet` of all questions, `contact_sheet.png`

Answers are generated greedily and are right if they equal the truth once normalised (`evaluation/scoring.py`). A
question that cannot be asked has failed, with a reason; it is counted, and in no accuracy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from pydantic import Field

from stages.artifacts.kinds import ANSWERS_FILE, CONTACT_SHEET_FILE, METRICS_FILE, Checkpoint, Conversations, Evaluation
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.evaluation.answering import Answerer, load_answerer
from stages.evaluation.answers import Answer, answer_row, answer_table, answers_to_show, read_answers, scored_answers
from stages.evaluation.blind_control import exchange_images
from stages.evaluation.cards import answer_card
from stages.evaluation.contact_sheet import contact_sheet
from stages.evaluation.questions import Question, image_urls, read_questions
from stages.evaluation.scoring import metrics
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.sample_table import balance_of, read_table, write_table

NUM_ASKED_TOGETHER = 128
"""Questions of a part whose images are in memory at once."""


class EvaluateRecipe(Recipe):
    """How questions are asked."""

    max_new_tokens: int = Field(default=32, ge=1)
    """Longest answer, in tokens; what would be said after them is not read."""
    max_prompt_tokens: int = Field(default=8192, ge=1)
    """Longest prompt, in tokens, those of images included; a longer question fails."""
    num_questions_per_part: int = Field(default=500, ge=1)
    """Questions that one part answers."""
    num_cards: int = Field(default=25, ge=0)
    """Answers shown on the contact sheet, each kind in turn."""


def answer_part(
    part: Part, draft: PartDraft, recipe: EvaluateRecipe, checkpoint: Checkpoint, questions: Conversations
) -> None:
    """Answer one slice of the questions."""
    everything = read_questions(questions)
    asked = list(zip(everything, exchange_images(everything), strict=True))[part.task["start"] : part.task["stop"]]
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
    """Answer each question with its images and, where there are others to be exchanged for them, with those."""
    sighted = [answerer.prompt(question, question.image_ids) for question, _ in asked]
    blind = [None if others is None else answerer.prompt(question, others) for question, others in asked]
    said = answerer.answers([*sighted, *blind])
    return [
        answer_row(question, image_urls(pictures, question), answer, others or (), blind_answer)
        for (question, others), answer, blind_answer in zip(asked, said[: len(asked)], said[len(asked) :], strict=True)
    ]


def evaluate_part(
    part: Part, draft: PartDraft, recipe: EvaluateRecipe, answered_parts: Sequence[PartRecord], questions: Conversations
) -> None:
    """Score all answers and show some."""
    import pyarrow as pa

    table = pa.concat_tables([read_table(questions.read(record.file(ANSWERS_FILE))) for record in answered_parts])
    answers = read_answers(table)
    balance = balance_of(table)
    numbers = metrics(scored_answers(answers), num_failed=balance.num_failed)
    pictures = pictures_of(questions)
    cards = [answer_card(answer, pictures) for answer in answers_to_show(answers, recipe.num_cards)]
    draft.path(CONTACT_SHEET_FILE).write_bytes(contact_sheet(cards, numbers, part.task["title"]))
    draft.path(METRICS_FILE).write_text(json.dumps(numbers, indent=2) + "\n")
    write_table(table, draft.path(ANSWERS_FILE))
    draft.fact(metrics=numbers)
    draft.count(balance)


@stage(number=1, recipe=EvaluateRecipe, makes=Evaluation)
def evaluate(recipe: EvaluateRecipe, checkpoint: Checkpoint, questions: Conversations, *, ctx: StageContext) -> None:
    num_questions, size = questions.manifest.items.kept, recipe.num_questions_per_part
    if num_questions == 0:
        raise StageError(f"{questions!r} holds no conversation to ask; look at why: `neo show {questions.short}`")
    slices = [(start, min(start + size, num_questions)) for start in range(0, num_questions, size)]
    over = [
        Part(name=f"{number:05d}", task={"start": start, "stop": stop}, num_items=stop - start)
        for number, (start, stop) in enumerate(slices)
    ]
    answering = partial(answer_part, recipe=recipe, checkpoint=checkpoint, questions=questions)
    records = ctx.spread(answering, over=over, phase="answer")
    title = f"{checkpoint.manifest.stage}/{checkpoint.short} asked {questions.manifest.stage}/{questions.short}"
    whole = Part(name="00000", task={"title": title}, num_items=num_questions)
    gathering = partial(evaluate_part, recipe=recipe, answered_parts=records, questions=questions)
    (record,) = ctx.spread(gathering, over=[whole], phase="evaluate")
    ctx.report(record.facts["metrics"])
