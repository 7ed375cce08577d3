"""Reads one row of an evaluation set into a question: a conversation of one turn of the user and the right answer.

Owns where a question's pictures stand, and how a row shares the pictures of another one of its table, as VLMEvalKit's
tables do: their `image` is then the `index` of that row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from neo_model.inputs.video_text import VideoStyle
from stages.artifacts.phase_files import read_entry
from stages.artifacts.records import FileEntry
from stages.contract import Part, PartDraft
from stages.conversations.image_references import (
    ImageReference,
    ImageReferenceError,
    Record,
    field_references,
    row_referred_to,
)
from stages.conversations.multiple_choice import answers_of, ask, kind_of, split_at_pictures
from stages.conversations.placeholders import PlacingRule, place_media
from stages.conversations.reading import ParsedRecord, ReadingLimits, parsed
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.records import RECORD, read_record
from stages.conversations.turns import PictureHere, Piece, Turn
from stages.conversations.videos.references import FrameList, Video, VideoReferenceError, field_videos
from stages.formats.sample_table import read_table, write_table
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.origins.row_parts import PartRowReader

SHARED_PHASE = "shared"
"""The phase that lists the pictures of the rows of a table in which rows share them."""
SHARED_FILE = "shared.parquet"
"""Columns `index` and `images`, the names of its pictures, of each row with pictures of its own."""

SharedImages: TypeAlias = Callable[[str], Sequence[str] | None]
"""The index of a row to the names of its pictures, or None where it has none of its own."""


@dataclass(frozen=True, kw_only=True)
class QuestionForm:
    """How questions are asked, and which ones."""

    choice_ending: str
    """What stands behind the options of a question."""
    open_ending: str
    """What stands behind a question without options; "" is nothing."""
    only_split: str | None
    """Value of the column `split` that a row must have; None takes all."""
    system_prompt: str | None = None
    """System message before a question; None takes that of a benchmark, and is none without one."""
    video_style: VideoStyle = "timestamps"
    """How the frames of a video are announced."""
    kind: str | None = None
    """Kind of the questions of a table that does not say it."""


def parse_question(record: Record, form: QuestionForm, limits: ReadingLimits, shared: SharedImages) -> ParsedRecord:
    """Read one row of an evaluation set. Raises `UnreadableRecordError`."""
    of_split(record, form)
    asked = ask(record, form.choice_ending, form.open_ending)
    if len(asked.prompt) > limits.max_chars:
        raise UnreadableRecordError(ConversationReason.TOO_LONG)
    held, videos = held_pictures(record, shared), held_videos(record, limits)
    rule = PlacingRule(video_style=form.video_style)
    if videos or len(held) == asked.prompt.count(IMAGE_PLACEHOLDER):
        turns = place_media([Turn("user", (asked.prompt,)), Turn("assistant", (asked.answer,))], held, videos, rule)
    else:
        turns = [Turn("user", _pieces(asked.prompt, held)), Turn("assistant", (asked.answer,))]
    system = [Turn("system", (form.system_prompt,))] if form.system_prompt else []
    known = {**record, "id": record.get("id", record.get("index")), "kind": kind_of(record) or form.kind}
    known["answer"], known["truths"] = asked.answer, None if asked.options else list(answers_of(record))
    return parsed(known, [*system, *turns], limits, options=asked.options, rule=rule)


def of_split(record: Record, form: QuestionForm) -> None:
    """Raise `UnreadableRecordError` for a record of another split than the one that is read."""
    if form.only_split is not None and record.get("split") != form.only_split:
        raise UnreadableRecordError(ConversationReason.OTHER_SPLIT)


def held_videos(record: Record, limits: ReadingLimits) -> list[Video]:
    """The videos of a record. Raises `UnreadableRecordError`."""
    try:
        videos = field_videos(record)
    except VideoReferenceError as error:
        raise UnreadableRecordError(ConversationReason.VIDEO_REFERENCE) from error
    except ImageReferenceError as error:
        raise UnreadableRecordError(ConversationReason.IMAGE_REFERENCE) from error
    if len(videos) > limits.max_videos:
        raise UnreadableRecordError(ConversationReason.TOO_MANY_VIDEOS)
    if any(isinstance(video, FrameList) and len(video.frames) > limits.max_frames for video in videos):
        raise UnreadableRecordError(ConversationReason.TOO_MANY_FRAMES)
    return videos


def _pieces(prompt: str, held: Sequence[ImageReference]) -> tuple[Piece, ...]:
    """The pictures where the prompt has a place for them, else before it."""
    pieces = [
        PictureHere(held[piece]) if isinstance(piece, int) else piece.strip()
        for piece in split_at_pictures(prompt, len(held))
    ]
    return tuple(piece for piece in pieces if piece)


def held_pictures(record: Record, shared: SharedImages) -> list[ImageReference]:
    """The pictures of a record, or of the row whose pictures it shares. Raises `UnreadableRecordError`."""
    other = row_referred_to(record)
    try:
        if other is None:
            return field_references(record)
    except ImageReferenceError as error:
        raise UnreadableRecordError(ConversationReason.IMAGE_REFERENCE) from error
    names = shared(other)
    if names is None:
        raise UnreadableRecordError(ConversationReason.IMAGE_MISSING)
    return [ImageReference(name) for name in names]


def list_shared(part: Part, draft: PartDraft, reader: PartRowReader) -> None:
    """List the pictures of the rows of one part by the rows' indexes, in `shared.parquet`."""
    import pyarrow as pa

    rows: list[dict[str, object]] = []
    for text in reader.read(part).table.column(RECORD).to_pylist():
        record = None if text is None else read_record(text)
        if record is not None and record.get("index") is not None and row_referred_to(record) is None:
            try:
                names = [reference.name for reference in field_references(record)]
            except ImageReferenceError:
                continue
            rows += [{"index": str(record["index"]), "images": names}] if names else []
    schema = pa.schema([("index", pa.string()), ("images", pa.list_(pa.string()))])
    write_table(pa.Table.from_pylist(rows, schema=schema), draft.path(SHARED_FILE))


@lru_cache(maxsize=1)
def load_shared(store_url: str, entries: tuple[FileEntry, ...]) -> dict[str, list[str]]:
    """Index to names of pictures, of all rows that have any: some 200 bytes for each. Cached for a worker's parts."""
    store = Store(store_url)
    tables = (read_table(read_entry(store, entry)) for entry in entries)
    return {row["index"]: row["images"] for table in tables for row in table.to_pylist()}
