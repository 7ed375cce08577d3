"""One row of a user's table as it will be read: its columns, its text, its pictures, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from pipelines.preview.conversation_rows import ConversationRows
from pipelines.preview.film_items import FilmViewer
from pipelines.preview.items import PreviewItem, PreviewPicture, PreviewSpan, PreviewStrip, SpanRole
from pipelines.preview.source_guess import SourceGuess
from pipelines.preview.thumbnails import thumbnail
from stages.conversations.image_references import ImageReference, ImageReferenceError, references_of
from stages.conversations.videos.clock_times import seconds_of
from stages.cutting.table_videos import is_web_address, names_in
from stages.download.address import parse_address
from stages.download.reasons import RowError
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.places.place import Place
from stages.origins.tables.row_batches import MALFORMED
from stages.store.errors import StoreError

MAX_PICTURE_BYTES: Final = 50_000_000
"""Largest picture that is read."""
MAX_PICTURES: Final = 16
"""Pictures of one row that are shown."""
DATA_URI: Final = "data:"
MAX_WORD_CHARS: Final = 500
"""Longest value without a space that is shown whole: longer ones are encoded pictures."""


@dataclass(frozen=True)
class RowViewer:
    """Shows rows of one source."""

    place: Place
    """Where the pictures lie that are named by paths: the source itself, or its source of images."""
    guess: SourceGuess
    films: FilmViewer
    """Looks into the videos of rows."""
    conversations: ConversationRows | None = None
    """Reads the rows where they are conversations."""

    def item(self, path: str, number: int, row: Mapping[str, Any]) -> PreviewItem:
        """Row `number` of the source, which stands in the file `path`."""
        heading = f"row {number} of {path}"
        if MALFORMED in row:
            return PreviewItem(heading=heading, verdict=f"failed: malformed: {row[MALFORMED]}")
        if self.conversations is not None:
            return self._conversation(self.conversations, heading, row)
        spoken = {theirs for ours, theirs in self.guess.columns.items() if ours in ("caption", "text")}
        pictures = tuple(self._pictures(row))
        fields = tuple((name, _shown(value)) for name, value in row.items() if name not in spoken)
        return PreviewItem(
            heading=heading,
            verdict=self._verdict(row),
            fields=fields,
            spans=tuple(self._spans(row)),
            pictures=pictures,
            strips=tuple(self._strips(row)),
        )

    def _conversation(self, conversations: ConversationRows, heading: str, row: Mapping[str, Any]) -> PreviewItem:
        read = conversations.read(row)
        fields = tuple((name, _shown(value)) for name, value in row.items() if name != conversations.column)
        return PreviewItem(
            heading=heading,
            verdict=read.verdict,
            fields=fields,
            spans=read.spans,
            pictures=tuple(self._shown_pictures(read.pictures)),
            strips=tuple(self._strip(one.name, one.start_seconds or 0.0, one.end_seconds) for one in read.videos),
        )

    def _verdict(self, row: Mapping[str, Any]) -> str:
        """What the reading stage says of a row, as far as the row alone tells; '' where it says nothing."""
        columns = self.guess.columns
        if self.guess.reader == "cut_clips":
            return _verdict_on_video(row, columns)
        for name, theirs in columns.items():
            if row.get(theirs) is None:
                return f"failed: schema: column {theirs!r} is null" if name != "image" else "failed: no picture"
        if self.guess.reader == "download_pairs":
            try:
                if "caption" in columns:
                    clean_text(_bytes(row[columns["caption"]]))
                parse_address(_bytes(row[columns["url"]]).decode())
            except TextEncodingError:
                return "failed: caption_encoding"
            except UnicodeDecodeError:
                return "dropped: url_malformed"
            except RowError as error:
                return f"{error.reason.verdict.value}: {error.reason.value}"
        return ""

    def _spans(self, row: Mapping[str, Any]) -> Iterator[PreviewSpan]:
        """The text of a row: a caption or a document."""
        columns = self.guess.columns
        for name in ("caption", "text"):
            if name in columns:
                yield PreviewSpan(role=SpanRole.GIVEN, text=_text(row.get(columns[name])))

    def _pictures(self, row: Mapping[str, Any]) -> Iterator[PreviewPicture]:
        """The pictures of a row; those behind web addresses are named, not asked for."""
        if self.guess.reader in ("download_pairs", "read_text", "cut_clips"):
            return
        try:
            record = {**row, "image": row[self.guess.columns["image"]]} if "image" in self.guess.columns else row
            found = references_of(record)
        except ImageReferenceError as error:
            yield PreviewPicture(about=str(error))
            return
        yield from self._shown_pictures(found)

    def _strips(self, row: Mapping[str, Any]) -> Iterator[PreviewStrip]:
        """The videos of a row, in the stretch that it asks for; those behind web addresses are named, not asked for."""
        if self.guess.reader != "cut_clips":
            return
        columns = self.guess.columns
        try:
            start, end = _times(row, columns)
        except ValueError:
            start, end = None, None  # the verdict says so
        value = row.get(columns["video"])
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if isinstance(data, bytes):
            yield self.films.strip_of(data, start or 0.0, end)
            return
        for name in names_in(value)[:MAX_PICTURES]:
            if name is not None:
                yield self._strip(name, start or 0.0, end)

    def _strip(self, name: str, start_seconds: float, end_seconds: float | None) -> PreviewStrip:
        if is_web_address(name):
            return PreviewStrip(about=f"{name} (not asked for)")
        return self.films.strip_in(self.place, name, start_seconds, end_seconds)

    def _shown_pictures(self, found: Sequence[ImageReference]) -> Iterator[PreviewPicture]:
        for reference in found[:MAX_PICTURES]:
            yield self._picture(reference)
        if len(found) > MAX_PICTURES:
            yield PreviewPicture(about=f"{len(found) - MAX_PICTURES} more pictures are not shown")

    def _picture(self, reference: ImageReference) -> PreviewPicture:
        if reference.data is not None:
            return thumbnail(reference.data)
        path = PurePosixPath(reference.name)
        if "://" in reference.name:
            return PreviewPicture(about=f"{reference.name} (not asked for)")
        if path.is_absolute() or ".." in path.parts:
            return PreviewPicture(about=f"{reference.name}: a path that leads out of the source")
        return self._stored(str(path))

    def _stored(self, path: str) -> PreviewPicture:
        """A picture that is a file of the source."""
        try:
            size_bytes = self.place.size_bytes(path)
            if size_bytes is None or size_bytes > MAX_PICTURE_BYTES:
                return PreviewPicture(about=f"{path}: {'is not there' if size_bytes is None else 'is too large'}")
            return thumbnail(self.place.read_range(path, 0, size_bytes))
        except (OSError, StoreError) as error:
            return PreviewPicture(about=f"{path}: {error}")


def _verdict_on_video(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """What `cut_clips` says of a row, as far as the row alone tells."""
    if not row.get(columns["video"]):
        return "dropped: names_no_video"
    try:
        _times(row, columns)
    except ValueError:
        return "failed: bad_times"
    return ""


def _times(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Start and end of the stretch that a row asks for, in seconds. Raises `ValueError` where one is no time."""
    start, end = (row.get(columns[name]) if name in columns else None for name in ("start", "end"))
    return seconds_of("" if start is None else str(start)), seconds_of("" if end is None else str(end))


def _shown(value: Any) -> str:
    """A value on one line; bytes by their number."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, str) and (value.startswith(DATA_URI) or (len(value) > MAX_WORD_CHARS and " " not in value)):
        return f"{value[:40]}... ({len(value):,} characters)"
    return "null" if value is None else str(value)


def _text(value: Any) -> str:
    """A value as text; bytes that are no UTF-8 with replacement characters."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
