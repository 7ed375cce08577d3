"""The answer table: what was asked, what would have been right, what was said with sight and blind.

Owns its columns, what is scored of it, and which answers are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from stages.evaluation.questions import Question, QuestionTrouble
from stages.evaluation.scoring import ScoredAnswer, is_correct
from stages.formats.sample_table import Verdict, sample_id_type

if TYPE_CHECKING:
    import pyarrow as pa


KindT = TypeVar("KindT", "Answer", Question)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row: a question that was answered (`kept`) or could not be asked (`failed`, with the reason)."""

    sample_id: bytes
    image_ids: list[bytes]
    image_urls: list[str | None]
    """Where the images came from; None for one that is not among the pictures."""
    kind: str
    question: str
    truth: str
    answer: str | None
    correct: bool | None
    blind_image_ids: list[bytes]
    """The images of the blind control; empty where it was not asked."""
    blind_answer: str | None
    blind_correct: bool | None
    verdict: str
    reason: str | None


def answer_row(
    question: Question,
    image_urls: Sequence[str | None],
    said: str | QuestionTrouble | None,
    blind_image_ids: Sequence[bytes],
    blind_said: str | QuestionTrouble | None,
) -> Answer:
    """The row of a question to which `said` was the answer, or of one that could not be asked for that trouble."""
    trouble = said if isinstance(said, QuestionTrouble) else None
    answer = None if trouble else said
    blind_answer = None if trouble or isinstance(blind_said, QuestionTrouble) else blind_said
    return Answer(
        sample_id=question.sample_id,
        image_ids=list(question.image_ids),
        image_urls=list(image_urls),
        kind=question.kind,
        question=question.wording,
        truth=question.truth,
        answer=answer,
        correct=None if answer is None else is_correct(answer, question.truth),
        blind_image_ids=[] if blind_answer is None else list(blind_image_ids),
        blind_answer=blind_answer,
        blind_correct=None if blind_answer is None else is_correct(blind_answer, question.truth),
        verdict=(trouble.verdict if trouble else Verdict.KEPT).value,
        reason=trouble.value if trouble else None,
    )


def answer_table(answers: Sequence[Answer]) -> pa.Table:
    """The rows as an Arrow table."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("sample_id", sample_id_type()),
            ("image_ids", pa.list_(sample_id_type())),
            ("image_urls", pa.list_(pa.string())),
            ("kind", pa.string()),
            ("question", pa.string()),
            ("truth", pa.string()),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
            ("blind_image_ids", pa.list_(sample_id_type())),
            ("blind_answer", pa.string()),
            ("blind_correct", pa.bool_()),
            ("verdict", pa.string()),
            ("reason", pa.string()),
        ]
    )
    return pa.Table.from_pylist([asdict(answer) for answer in answers], schema=schema)


def read_answers(table: pa.Table) -> list[Answer]:
    """The rows of `answer_table`."""
    return [Answer(**row) for row in table.to_pylist()]


def scored_answers(answers: Sequence[Answer]) -> list[ScoredAnswer]:
    """What is counted of those that were answered."""
    return [
        ScoredAnswer(kind=answer.kind, truth=answer.truth, correct=answer.correct, blind_correct=answer.blind_correct)
        for answer in answers
        if answer.correct is not None
    ]


def answers_to_show(answers: Sequence[Answer], num_shown: int) -> list[Answer]:
    """Answers to look at: each kind in turn, within a kind by sample id, which is as good as by lot."""
    return round_robin_by_kind([answer for answer in answers if answer.correct is not None])[:num_shown]


def round_robin_by_kind(things: Iterable[KindT]) -> list[KindT]:
    """Of each kind one in turn, within a kind by sample id."""
    by_kind: dict[str, list[KindT]] = defaultdict(list)
    for thing in sorted(things, key=lambda thing: (thing.kind, thing.sample_id)):
        by_kind[thing.kind].append(thing)
    return [thing for thing in chain.from_iterable(zip_longest(*by_kind.values())) if thing is not None]
