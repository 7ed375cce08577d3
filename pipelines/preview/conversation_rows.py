"""Conversations of a table as they will be read: by the functions of the stage that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.preview.items import PreviewSpan, SpanRole
from stages.conversations.dialects import Dialect, find_dialect
from stages.conversations.image_references import ImageReference
from stages.conversations.placeholders import message_of
from stages.conversations.reading import ReadingLimits, parse_record
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.turns import PictureHere, Turn
from stages.conversations.videos.references import VideoReference

LIMITS: Final = ReadingLimits(max_chars=200_000, max_images=64)
"""The limits that a recipe has unless it says others."""


@dataclass(frozen=True)
class ReadRecord:
    """One record as it will be read."""

    verdict: str
    """The verdict and its reason where it cannot be used; '' where nothing but its pictures can stand against it."""
    spans: tuple[PreviewSpan, ...] = ()
    pictures: tuple[ImageReference, ...] = ()
    """Its pictures, in order."""
    videos: tuple[VideoReference, ...] = ()
    """Its videos, in order; those that are given as frames are pictures."""


@dataclass(frozen=True)
class ConversationRows:
    """Reads the records of one table."""

    column: str
    """Column that holds the turns."""
    dialect: Dialect

    @classmethod
    def of(cls, column: str, first_row: Mapping[str, Any], source: str) -> ConversationRows:
        """Decide the dialect by the first row. Raises `StageError` where the turns have fields that are not known."""
        return cls(column, find_dialect([{**first_row, "messages": first_row[column]}], {}, source))

    def read(self, row: Mapping[str, Any]) -> ReadRecord:
        """One row: its turns with their pictures in place, or why it cannot be used."""
        try:
            read = parse_record({**row, "messages": row.get(self.column)}, self.dialect, LIMITS)
        except UnreadableRecordError as error:
            return ReadRecord(f"{error.reason.verdict.value}: {error.reason.value}")
        places = [piece for turn in read.turns for piece in turn.pieces if isinstance(piece, PictureHere)]
        spans = tuple(map(_span, read.turns))
        reason = ConversationReason.NOTHING_SUPERVISED
        learned = any(span.role is SpanRole.SUPERVISED for span in spans)
        return ReadRecord(
            verdict="" if learned else f"{reason.verdict.value}: {reason.value}",
            spans=spans,
            pictures=tuple(place.reference for place in places if place.reference is not None),
            videos=read.videos,
        )


def _span(turn: Turn) -> PreviewSpan:
    """One turn; a place of a picture is shown as `<image>`, that of a video as `<video>`."""
    text = message_of(turn).content
    is_learned = turn.role == "assistant" and turn.supervised is not False
    return PreviewSpan(role=SpanRole.SUPERVISED if is_learned else SpanRole.GIVEN, text=text, speaker=turn.role)
