"""The values of a preview: what is shown of a source or an artifact, before it is text or a page.

Everything in them is untrusted: `lines.py` removes control characters, `page.py` escapes markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SpanRole(StrEnum):
    """What a stretch of a sample is for the model."""

    GIVEN = "given"
    """The model reads it; the loss does not ask for it."""
    SUPERVISED = "supervised"
    """The loss asks for every token of it."""
    PICTURE = "picture"
    """The place of a picture among the tokens."""


@dataclass(frozen=True, kw_only=True)
class PreviewSpan:
    """A stretch of a sample in one role."""

    role: SpanRole
    text: str
    """Decoded text, or a description of the picture."""
    speaker: str = ""
    """Role of the message, in a conversation that is not tokenised yet."""


@dataclass(frozen=True, kw_only=True)
class PreviewPicture:
    """One picture of an item."""

    about: str
    """Its size and format, or why it cannot be shown."""
    jpeg: bytes | None = None
    """A JPEG small enough for a page; None where the picture does not decode."""


@dataclass(frozen=True, kw_only=True)
class PreviewStrip:
    """Frames of a film, or many pictures, side by side."""

    about: str
    """What it is, how long, and how many of its frames are shown; or why it cannot be shown."""
    frames: tuple[PreviewPicture, ...] = ()
    """Small pictures in order; what each is about is when it is shown."""

    @property
    def told(self) -> str:
        """The strip in words: what it is, and when its frames are shown."""
        times = ", ".join(frame.about for frame in self.frames)
        return f"{self.about}: {times}" if times else self.about


@dataclass(frozen=True, kw_only=True)
class PreviewItem:
    """One sample, row of a table, or document of a packed row."""

    heading: str
    verdict: str = ""
    """`kept`, or the verdict and its reason; '' where nothing was judged."""
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values, in order."""
    spans: tuple[PreviewSpan, ...] = ()
    """Its text in order, pictures in their places."""
    pictures: tuple[PreviewPicture, ...] = ()
    strips: tuple[PreviewStrip, ...] = ()

    def document(self) -> dict[str, Any]:
        """The item as JSON, without the bytes of its pictures."""
        return {
            "heading": self.heading,
            "verdict": self.verdict,
            "fields": dict(self.fields),
            "text": [{"role": span.role.value, "text": span.text, "speaker": span.speaker} for span in self.spans],
            "pictures": [picture.about for picture in self.pictures],
            "strips": [strip.told for strip in self.strips],
        }


@dataclass(frozen=True, kw_only=True)
class PreviewDrawing:
    """A picture of what a stage did with all of its items."""

    name: str
    """Name of the file, such as `funnel.png`."""
    place: str
    """URL of the file in the store."""
    read: Callable[[], bytes]
    """Reads its bytes. Raises `StoreError` where it is damaged."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first items of a source or an artifact, and what was found out about it."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    """What it is: kind, size, what was guessed and from what."""
    troubles: tuple[str, ...] = ()
    """What cannot be read, and what to do."""
    items: tuple[PreviewItem, ...] = ()
    drawn: tuple[PreviewDrawing, ...] = ()
    """What was drawn of the work of its stage."""

    def document(self) -> dict[str, Any]:
        """The preview as JSON."""
        return {
            "title": self.title,
            "facts": dict(self.facts),
            "troubles": list(self.troubles),
            "items": [item.document() for item in self.items],
            "drawn": {drawing.name: drawing.place for drawing in self.drawn},
        }


def verdict_in_words(verdict: str | None, reason: str | None) -> str:
    """`kept`, or `dropped: too_small`."""
    return f"{verdict}: {reason}" if reason else verdict or ""


def fields_of(row: dict[str, Any], without: set[str]) -> Iterator[tuple[str, str]]:
    """The other columns of a row that have a value, as names and text."""
    for name, value in row.items():
        if name not in without and value is not None:
            yield name, value.hex() if isinstance(value, bytes) else str(value)
