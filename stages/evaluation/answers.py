"""The answer table: for each question its words, its truth, and the answers with its own and with exchanged images.

Owns the columns of the table, the choice of rows that are scored, and the choice of answers that are shown.
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
    """One row: a question that was answered (verdict `kept`) or could not be asked (`failed`, with the reason)."""

    sample_id: bytes
    image_ids: list[bytes]
    image_urls: list[str | None]
    """URLs of the images; None for an image that is not among the pictures."""
    kind: str
    question: str
    truth: str
    answer: str | None
    correct: bool | None
    blind_image_ids: list[bytes]
    """Images of the blind control; empty if it was not asked."""
    blind_answer: str | None
    blind_correct: bool | None
    verdict: str
    reason: str | None


def answer_row(
    question: Question,
    image_urls: Sequence[str | None],
    reply: str | QuestionTrouble | None,
    blind_image_ids: Sequence[bytes],
    blind_reply: str | QuestionTrouble | None,
) -> Answer:
    """The row of a question. `reply` is the answer, or the reason why the question could not be asked."""
    trouble = reply if isinstance(reply, QuestionTrouble) else None
    answer = None if trouble else reply
    blind_answer = None if trouble or isinstance(blind_reply, QuestionTrouble) else blind_reply
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
    """The answers that are scored: those to questions that could be asked."""
    return [
        ScoredAnswer(kind=answer.kind, truth=answer.truth, correct=answer.correct, blind_correct=answer.blind_correct)
        for answer in answers
        if answer.correct is not None
    ]


def answers_to_show(answers: Sequence[Answer], num_shown: int) -> list[Answer]:
    """The answers that are shown: round robin from the kinds, within a kind by sample id.

    Sample ids are digests, so this is a random choice that does not depend on whether an answer is right.
    """
    return round_robin_by_kind([answer for answer in answers if answer.correct is not None])[:num_shown]


def round_robin_by_kind(items: Iterable[KindT]) -> list[KindT]:
    """One item of each kind, then a second of each, and so on; within a kind by sample id.

    Kinds a (1, 2, 3) and b (4) come out as a1, b4, a2, a3.
    """
    by_kind: dict[str, list[KindT]] = defaultdict(list)
    for item in sorted(items, key=lambda item: (item.kind, item.sample_id)):
        by_kind[item.kind].append(item)
    return [item for item in chain.from_iterable(zip_longest(*by_kind.values())) if item is not None]
