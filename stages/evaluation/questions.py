"""Turns conversations into questions: the last assistant turn, or the `answer` column, is the truth.

Owns which turns are asked, what the right answer is, and which conversations cannot be asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from neo_model.inputs.video_text import VideoStyle
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations
from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.blind_control import PosedQuestion
from stages.evaluation.numbers import number_in
from stages.evaluation.scoring import is_metric_name, normalised
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, Verdict, read_table

PLAIN_KIND = "plain"
"""The kind of a question whose record has none."""


class QuestionTrouble(ItemReason):
    """Why a question was not asked: the closed list of reasons in answer tables."""

    NO_TRUTH = "no_truth", Verdict.FAILED
    """Neither `answer` nor a last assistant turn holds a right answer, or it is no number where one is asked for."""
    NO_QUESTION = "no_question", Verdict.FAILED
    """No user turn with words or pictures stands before the answer."""
    KIND_IS_NO_NAME = "kind_is_no_name", Verdict.FAILED
    """The kind cannot be part of a metric name."""
    IMAGE_NOT_KEPT = "image_not_kept", Verdict.FAILED
    """An image is not among the kept pairs that the conversations were read with."""
    IMAGE_UNUSABLE = "image_unusable", Verdict.FAILED
    """An image cannot be decoded, or is too elongated."""
    CLIP_NOT_KEPT = "clip_not_kept", Verdict.FAILED
    """A clip is not among the kept clips that the conversations were read with."""
    CLIP_UNUSABLE = "clip_unusable", Verdict.FAILED
    """A frame of a clip cannot be decoded, or is too elongated."""
    UNRENDERABLE = "unrenderable", Verdict.FAILED
    """The numbers of placeholders and images differ, or a message is malformed."""
    TOO_LONG = "too_long", Verdict.FAILED
    """The prompt has more tokens than the recipe allows, even with one frame of each clip."""


@dataclass(frozen=True, kw_only=True)
class Question(PosedQuestion):
    """One question: the turns up to where the answer is expected, and the truth."""

    messages: tuple[dict[str, Any], ...]
    truth: str
    options: tuple[str, ...] | None = None
    """Texts of the options A, B, ... of a multiple-choice question, whose truth is a letter; None for others."""
    scoring: ScoringRule = "exact"
    """How answers are scored."""
    truths: tuple[str, ...] = ()
    """All right answers, as often as they were given; () where `truth` is the only one."""
    sets: tuple[str, ...] = ()
    """Sets of questions that it belongs to, as `figure:17`."""
    video_style: VideoStyle = "timestamps"
    """How the frames of its clips are announced."""

    @property
    def wording(self) -> str:
        """The words of the last user turn, without placeholders of images and clips."""
        texts = ["", *(message["content"] or "" for message in self.messages if message["role"] == "user")]
        return " ".join(texts[-1].replace(IMAGE_PLACEHOLDER, " ").replace(VIDEO_PLACEHOLDER, " ").split())

    @property
    def trouble(self) -> QuestionTrouble | None:
        """Why the record alone rules the question out, or None."""
        if not is_metric_name(self.kind):
            return QuestionTrouble.KIND_IS_NO_NAME
        if not normalised(self.truth) or (self.scoring == "numeric" and number_in(self.truth) is None):
            return QuestionTrouble.NO_TRUTH
        has_picture = (self.image_ids or self.clip_ids) and any(
            message["role"] == "user" and message["content"] for message in self.messages
        )
        return None if self.wording or has_picture else QuestionTrouble.NO_QUESTION


def read_questions(conversations: Conversations, *, numeric_kinds: Collection[str] = ()) -> list[Question]:
    """All kept conversations as questions, in table order.

    `numeric_kinds` are scored as numbers where the table has no rule for them but equality.
    """
    questions: list[Question] = []
    for part in conversations.parts:
        table = read_table(conversations.read(part.file(CONVERSATIONS_FILE)))
        questions += [as_question(row) for row in table.to_pylist() if row["verdict"] == Verdict.KEPT]
    return [
        replace(one, scoring="numeric") if one.kind in numeric_kinds and one.scoring == "exact" else one
        for one in questions
    ]


def as_question(row: dict[str, Any]) -> Question:
    """Split a conversation at its last assistant turn: the turns before it are asked, later ones are ignored."""
    messages: Sequence[dict[str, Any]] = row["messages"] or []
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    end = turns[-1] if turns else len(messages)
    last_reply = (messages[end]["content"] or "") if turns else ""
    options = None if row.get("options") is None else tuple(row["options"])
    return Question(
        sample_id=row["sample_id"],
        image_ids=tuple(row["image_ids"] or ()),
        clip_ids=tuple(row.get("clip_ids") or ()),
        kind=row["kind"] or PLAIN_KIND,
        messages=tuple(messages[:end]),
        truth=last_reply if row["answer"] is None else row["answer"],
        options=options,
        scoring=row.get("scoring") or ("choice" if options else "exact"),
        truths=tuple(row.get("truths") or ()),
        sets=tuple(row.get("sets") or ()),
        video_style=row.get("video_style") or "timestamps",
    )


def image_urls(pictures: PairReader, question: Question) -> list[str | None]:
    """URL of each image of a question; None for an image that is not among the pictures."""
    return [_url_of(pictures, image_id) for image_id in question.image_ids]


def _url_of(pictures: PairReader, image_id: bytes) -> str | None:
    try:
        return pictures.pair(image_id).url
    except KeyError:
        return None
