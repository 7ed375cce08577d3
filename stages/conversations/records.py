"""Turns rows of a table into records, and records into the one column in which the rows of a part travel.

Owns what is kept of a row before it is read: the fields that are known, pictures replaced by their names, so that a
table with image bytes is not copied; text that is not UTF-8 told apart from what is merely empty.

    record          JSON text of an object; `null` where text of the row is not UTF-8; empty where it could not be read
    malformed_row   why it could not be read
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from stages.conversations.image_references import (
    IMAGE_FIELDS,
    ImageReferenceError,
    Record,
    field_references,
    listed,
    part_reference,
    row_referred_to,
)
from stages.conversations.spatial.cameras import camera_fields
from stages.conversations.spatial.marks import mark_fields
from stages.conversations.videos.references import (
    END_FIELDS,
    START_FIELDS,
    TIMES_FIELDS,
    VIDEO_FIELDS,
    VideoReferenceError,
    field_videos,
    frame_times_of,
    part_video,
    spelled_video,
)
from stages.origins.tables.batches import is_json_text, plain_values
from stages.origins.tables.row_batches import MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa

RECORD: Final = "record"
"""Column that holds a record as JSON text."""
NOT_UTF8: Final = "null"
"""The record of a row with text that is not UTF-8."""
KNOWN_FIELDS: Final = frozenset({
    "id", "index", "messages", "system", "kind", "answer", "answers", "tools", "functions", "audio", "audios",
    "width", "height", "objects", "bboxes", "bbox", "boxes", "box", "bbox_type", "question", "hint", "options",
    "choices", "category", "split",
})  # fmt: skip
"""Fields of a record that are read, besides those with pictures and options `A`, `B`, ...; others are left out."""

SETS: Final = "benchmark_sets"
"""Field of a record with the sets of questions that it belongs to, which a benchmark's rows are given."""


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise `ValueError` where a recipe's `columns` gives a name here that nothing reads."""
    known_fields = {*KNOWN_FIELDS, *IMAGE_FIELDS, *VIDEO_FIELDS, *START_FIELDS, *END_FIELDS, *TIMES_FIELDS}
    unknown = [name for name in columns if name not in known_fields and not _is_option(name)]
    if unknown:
        known = ", ".join(sorted(known_fields))
        raise ValueError(
            f"columns: {unknown[0]!r} is no name that is read here; write {{name here: name in the table}}, "
            f"with one of {known} or a letter of an option"
        )


def compact_table(table: pa.Table) -> pa.Table:
    """The rows of a table as records in JSON text, with the column of malformed rows, which is its last."""
    import pyarrow as pa

    errors = table.column(MALFORMED).to_pylist()
    records = [None if error else spell_record(record) for error, record in zip(errors, records_of(table), strict=True)]
    return pa.table({RECORD: pa.array(records, pa.string()), MALFORMED: pa.array(errors, pa.string())})


def records_of(table: pa.Table | pa.RecordBatch) -> Iterator[Record | None]:
    """The rows of a table, a record each; None for a row with text that is not UTF-8. JSON text is parsed."""
    for number in range(0, table.num_rows, 1024):
        yield from _records(table.slice(number, 1024))


def spell_record(record: Record | None) -> str:
    """The known fields of a record as JSON text: sorted, and every picture and video as its name.

    A record of lists in lists, hundreds deep, is spelled without fields, and ends as one without messages.
    """
    try:
        return NOT_UTF8 if record is None else _spelled_record(record)
    except RecursionError:
        return "{}"


def _spelled_record(record: Record) -> str:
    known = {
        name: value
        for name, value in record.items()
        if value is not None and (name in KNOWN_FIELDS or name == SETS or _is_option(name))
    }
    pictures = {name: value for name, value in record.items() if _is_image_field(name) and value is not None}
    if row_referred_to(record) is None:
        try:
            names = [reference.name for reference in field_references(record)]
            pictures = {"images": names} if names else {}
        except ImageReferenceError:
            pass  # the values stay as they are, and the record ends with the reason when it is read
    pictures |= _spelled_videos(record, pictures.get("images"))
    if marks := mark_fields(record):
        known["spar_info"] = json.dumps(marks, sort_keys=True, default=_spelled)
    known |= camera_fields(record) if pictures else {}
    if "messages" in known and (turns := listed(known["messages"])):
        known["messages"] = [_with_names(turn) for turn in turns]
    return json.dumps({**known, **pictures}, sort_keys=True, default=_spelled)


def read_record(text: str) -> Record | None:
    """The record that was spelled; None where the row was not UTF-8."""
    record: Record | None = json.loads(text)
    return record


def _records(table: pa.Table | pa.RecordBatch) -> Iterator[Record | None]:
    import pyarrow as pa

    fields = [field for field in table.schema if field.name != MALFORMED]
    try:
        columns = [plain_values(table.column(field.name), field, decodes_all=True) for field in fields]
    except UnicodeDecodeError:
        if table.num_rows == 1:
            yield None
        else:
            for number in range(table.num_rows):
                yield from _records(table.slice(number, 1))
        return
    text = [pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in fields]
    is_json = [is_json_text(field) for field in fields]
    for number in range(table.num_rows):
        values = [column[number] for column in columns]
        # A column of text gives bytes where they are not UTF-8; a binary column gives the bytes of a picture.
        is_broken = any(
            isinstance(value, bytes) and one and not parsed
            for value, one, parsed in zip(values, text, is_json, strict=True)
        )
        yield None if is_broken else {field.name: value for field, value in zip(fields, values, strict=True)}


def _is_option(name: str) -> bool:
    return len(name) == 1 and name.isascii() and name.isupper()


def _is_image_field(name: str) -> bool:
    return name in IMAGE_FIELDS or name.startswith("image_")


def _spelled_videos(record: Record, images: Any) -> dict[str, Any]:
    """The videos of a record, their stretches included, and the times of pictures that are frames; {} without either.

    A value that is no video is spelled so that reading it fails again.
    """
    try:
        videos: list[Any] = [spelled_video(video) for video in field_videos(record)]
    except (VideoReferenceError, ImageReferenceError) as error:
        videos = [{"unreadable": str(error)[:200]}]
    if videos:
        return {"videos": videos}
    times = frame_times_of(record, len(images)) if isinstance(images, list) and len(images) > 1 else None
    if times is None:
        return {}
    return {"frame_times": times, **({} if record.get("duration") is None else {"duration": record["duration"]})}


def _with_names(turn: Any) -> Any:
    """A turn whose pictures and videos are names."""
    if not isinstance(turn, Mapping):
        return turn
    parts = {name: value for name, value in turn.items() if isinstance(value, list)}
    return {**turn, **{name: [_part_with_name(part) for part in value] for name, value in parts.items()}}


def _part_with_name(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    try:
        reference, video = part_reference(part), part_video(part)
    except (ImageReferenceError, VideoReferenceError):
        return part
    if video is not None:
        return {"type": "video", "video": spelled_video(video)}
    return part if reference is None else {"type": "image", "image": reference.name}


def _spelled(value: Any) -> str:
    """What JSON cannot spell: bytes that are no picture, dates."""
    return value.hex() if isinstance(value, bytes) else str(value)
