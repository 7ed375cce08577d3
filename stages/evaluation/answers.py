"""The answer table: for each question its words, its truth, and the answers with its own and with exchanged images.

Owns the columns of the table, the choice of rows that are scored, and the choice of answers that are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.blind_control import Media
from stages.evaluation.intervals import clusters_of
from stages.evaluation.metrics import ScoredAnswer
from stages.evaluation.questions import Question, QuestionTrouble
from stages.evaluation.rules.yes_no import says_yes
from stages.evaluation.scoring import score
from stages.formats.sample_table import Verdict, sample_id_type

if TYPE_CHECKING:
    import pyarrow as pa


KindT = TypeVar("KindT", "Answer", Question)


Reply: TypeAlias = "str | QuestionTrouble | None"
"""An answer, the reason why a question could not be asked, or None where it was not asked."""


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What a question was asked with, and what was replied."""

    own: Reply
    """Reply to the question with its own images and clips."""
    blind: Reply = None
    """Reply to the blind control."""
    blind_media: Media | None = None
    """Images and clips of the blind control."""
    shuffled: Reply = None
    """Reply to the question with the frames of its clips in another order."""
    num_frames: tuple[int, ...] = ()
    """Frames of each of its clips that were shown."""
    num_frames_kept: tuple[int, ...] = ()
    """Frames that each of its clips has."""


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
    """Whether it is right; for a number, whether it lies within the smallest tolerance."""
    blind_image_ids: list[bytes]
    """Images of the blind control; empty if it was not asked."""
    blind_answer: str | None
    blind_correct: bool | None
    verdict: str
    reason: str | None
    scoring: ScoringRule = "exact"
    """How the answers are scored."""
    score: float | None = None
    """Score of the answer, from 0 to 1; None where there is none."""
    blind_score: float | None = None
    """Score of the blind control."""
    num_options: int | None = None
    """Options of the question; None where they are not known."""
    truths: list[str] | None = None
    """All right answers, where a rule takes several; None where `truth` is the only one."""
    sets: list[str] = field(default_factory=list)
    """Sets of a benchmark that are right where all their questions are, as `figure:17`."""
    clip_ids: list[bytes] = field(default_factory=list)
    """Clips of the question, in order."""
    num_frames: list[int] = field(default_factory=list)
    """Frames of each clip that were shown."""
    num_frames_kept: list[int] = field(default_factory=list)
    """Frames that each clip has."""
    blind_clip_ids: list[bytes] = field(default_factory=list)
    """Clips of the blind control; empty if it was not asked."""
    shuffled_answer: str | None = None
    """Answer to the question with the frames of its clips in another order; None if it was not asked."""
    shuffled_correct: bool | None = None
    shuffled_score: float | None = None
    """Score of that answer."""


def answer_row(question: Question, image_urls: Sequence[str | None], replies: Replies) -> Answer:
    """The row of a question with the replies to it and its controls."""
    trouble = replies.own if isinstance(replies.own, QuestionTrouble) else None
    answer, blind, shuffled = (
        None if trouble or isinstance(reply, QuestionTrouble) else reply
        for reply in (replies.own, replies.blind, replies.shuffled)
    )
    scores = [
        None if said is None else score(said, question.truth, question.options, question.scoring, question.truths)
        for said in (answer, blind, shuffled)
    ]
    correct = [None if one is None else one == 1.0 for one in scores]
    others = Media((), ()) if blind is None or replies.blind_media is None else replies.blind_media
    return Answer(
        sample_id=question.sample_id,
        image_ids=list(question.image_ids),
        image_urls=list(image_urls),
        kind=question.kind,
        question=question.wording,
        truth=question.truth,
        answer=answer,
        correct=correct[0],
        blind_image_ids=list(others.image_ids),
        blind_answer=blind,
        blind_correct=correct[1],
        verdict=(trouble.verdict if trouble else Verdict.KEPT).value,
        reason=trouble.value if trouble else None,
        scoring=question.scoring,
        score=scores[0],
        blind_score=scores[1],
        num_options=None if question.options is None else len(question.options),
        truths=list(question.truths) or None,
        sets=list(question.sets),
        clip_ids=list(question.clip_ids),
        num_frames=list(replies.num_frames),
        num_frames_kept=list(replies.num_frames_kept),
        blind_clip_ids=list(others.clip_ids),
        shuffled_answer=shuffled,
        shuffled_correct=correct[2],
        shuffled_score=scores[2],
    )


def answer_table(answers: Sequence[Answer]) -> pa.Table:
    """The rows as an Arrow table."""
    import pyarrow as pa

    ids, counts = pa.list_(sample_id_type()), pa.list_(pa.int32())
    schema = pa.schema(
        [
            ("sample_id", sample_id_type()),
            ("image_ids", ids),
            ("image_urls", pa.list_(pa.string())),
            ("kind", pa.string()),
            ("question", pa.string()),
            ("truth", pa.string()),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
            ("blind_image_ids", ids),
            ("blind_answer", pa.string()),
            ("blind_correct", pa.bool_()),
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("scoring", pa.string()),
            ("score", pa.float64()),
            ("blind_score", pa.float64()),
            ("num_options", pa.int32()),
            ("truths", pa.list_(pa.string())),
            ("sets", pa.list_(pa.string())),
            ("clip_ids", ids),
            ("num_frames", counts),
            ("num_frames_kept", counts),
            ("blind_clip_ids", ids),
            ("shuffled_answer", pa.string()),
            ("shuffled_correct", pa.bool_()),
            ("shuffled_score", pa.float64()),
        ]
    )
    return pa.Table.from_pylist([asdict(answer) for answer in answers], schema=schema)


def read_answers(table: pa.Table) -> list[Answer]:
    """The rows of `answer_table`."""
    return [Answer(**row) for row in table.to_pylist()]


def scored_answers(answers: Sequence[Answer]) -> list[ScoredAnswer]:
    """The answers that are scored: those to questions that could be asked."""
    scored = [answer for answer in answers if answer.correct is not None]
    clusters = clusters_of([[*answer.image_ids, *answer.clip_ids] for answer in scored])
    return [
        ScoredAnswer(
            kind=answer.kind,
            truth=answer.truth,
            correct=bool(answer.correct),
            blind_correct=answer.blind_correct,
            shuffled_correct=answer.shuffled_correct,
            scoring=answer.scoring,
            score=answer.score or 0.0,
            blind_score=answer.blind_score,
            shuffled_score=answer.shuffled_score,
            num_options=answer.num_options,
            cluster=cluster,
            sets=tuple(answer.sets),
            says_yes=says_yes(answer.answer or "") if answer.scoring == "yes_no" else None,
        )
        for answer, cluster in zip(scored, clusters, strict=True)
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
