"""Turns conversations into questions: the last assistant turn, or the `answer` column, is the truth.

Owns which turns are asked, what the right answer is, and which conversations cannot be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations
from stages.evaluation.blind_control import PosedQuestion
from stages.evaluation.scoring import is_metric_name, normalised
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, Verdict, read_table

PLAIN_KIND = "plain"
"""The kind of a question whose record has none."""


class QuestionTrouble(ItemReason):
    """Why a question was not asked: the closed list of reasons in answer tables."""

    NO_TRUTH = "no_truth", Verdict.FAILED
    """Neither `answer` nor a last assistant turn holds a right answer."""
    NO_QUESTION = "no_question", Verdict.FAILED
    """No user turn with words stands before the answer."""
    KIND_IS_NO_NAME = "kind_is_no_name", Verdict.FAILED
    """The kind cannot be part of a metric name."""
    IMAGE_NOT_KEPT = "image_not_kept", Verdict.FAILED
    """An image is not among the kept pairs that the conversations were read with."""
    IMAGE_UNUSABLE = "image_unusable", Verdict.FAILED
    """An image cannot be decoded, or is too elongated."""
    UNRENDERABLE = "unrenderable", Verdict.FAILED
    """The numbers of placeholders and images differ, or a message is malformed."""
    TOO_LONG = "too_long", Verdict.FAILED
    """The prompt has more tokens than the recipe allows."""


@dataclass(frozen=True, kw_only=True)
class Question(PosedQuestion):
    """One question: the turns up to where the answer is expected, and the truth."""

    messages: tuple[dict[str, str], ...]
    truth: str

    @property
    def wording(self) -> str:
        """The words of the last user turn, without image placeholders."""
        texts = ["", *(message["content"] or "" for message in self.messages if message["role"] == "user")]
        return " ".join(texts[-1].replace(IMAGE_PLACEHOLDER, " ").split())

    @property
    def trouble(self) -> QuestionTrouble | None:
        """Why the record alone rules the question out, or None."""
        if not is_metric_name(self.kind):
            return QuestionTrouble.KIND_IS_NO_NAME
        if not normalised(self.truth):
            return QuestionTrouble.NO_TRUTH
        return None if self.wording else QuestionTrouble.NO_QUESTION


def read_questions(conversations: Conversations) -> list[Question]:
    """All kept conversations as questions, in table order."""
    questions: list[Question] = []
    for part in conversations.parts:
        table = read_table(conversations.read(part.file(CONVERSATIONS_FILE)))
        questions += [as_question(row) for row in table.to_pylist() if row["verdict"] == Verdict.KEPT]
    return questions


def as_question(row: dict[str, Any]) -> Question:
    """Split a conversation at its last assistant turn: the turns before it are asked, later ones are ignored."""
    messages: Sequence[dict[str, str]] = row["messages"] or []
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    end = turns[-1] if turns else len(messages)
    last_reply = (messages[end]["content"] or "") if turns else ""
    return Question(
        sample_id=row["sample_id"],
        image_ids=tuple(row["image_ids"] or ()),
        kind=row["kind"] or PLAIN_KIND,
        messages=tuple(messages[:end]),
        truth=last_reply if row["answer"] is None else row["answer"],
    )


def image_urls(pictures: PairReader, question: Question) -> list[str | None]:
    """URL of each image of a question; None for an image that is not among the pictures."""
    return [_url_of(pictures, image_id) for image_id in question.image_ids]


def _url_of(pictures: PairReader, image_id: bytes) -> str | None:
    try:
        return pictures.pair(image_id).url
    except KeyError:
        return None
