"""Videos whose bytes stand in Parquet, as the hub keeps them: a struct of `bytes` and `path`, or a column of binary.

Rows are streamed one by one, and each video is written to scratch. Parquet is read in whole values, so one video is in
memory at a time, and with it what the file has put in the same page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.contract import StageError
from stages.cutting.listed import ListedVideo, VideoFile, VideoOutcome
from stages.cutting.reasons import ClipReason
from stages.cutting.table_videos import ROW_COLUMNS, TURN_COLUMNS, wanted_clip
from stages.cutting.video_files import opened_video
from stages.cutting.video_index import VideoIndex
from stages.formats.sample_table import ItemReason
from stages.importing.parquet_pairs import open_parquet
from stages.importing.parts import RowGroups
from stages.origins.columns import match_columns
from stages.origins.files import open_file

if TYPE_CHECKING:
    import pyarrow as pa

VIDEO_NAMES = ("video", "mp4", "webm", "clip", "video_bytes", "bytes")
"""Names of columns that are taken for videos, the surest first."""
BUFFER_ROWS = 1
"""Rows in memory at a time, with their videos."""


def video_columns(schema: pa.Schema) -> list[str]:
    """The columns of Parquet that hold the bytes of a video in each row, the likeliest first."""
    holding = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
    return sorted(holding, key=lambda name: VIDEO_NAMES.index(name) if name in VIDEO_NAMES else len(VIDEO_NAMES))


def matched_columns(schema: pa.Schema, columns: Mapping[str, str], path: str) -> dict[str, str]:
    """Our names of the columns that are read to the table's own. Raises `StageError` where it is unclear."""
    holding = video_columns(schema)
    video = columns.get("video") or next((name for name in holding if name in VIDEO_NAMES), None)
    if video is None and len(holding) == 1:
        video = holding[0]
    if video is None or video not in schema.names:
        shown = ", ".join(f"{one.name} ({one.type})" for one in schema)
        raise StageError(
            f"{path}: which column holds the bytes of videos? Its columns are {shown}. Say so: "
            f"columns={{'video': {holding[0] if holding else '...'!r}}}"
        )
    others = [name for name in schema.names if name != video and not _holds_bytes(schema.field(name).type)]
    mapping = {name: theirs for name, theirs in columns.items() if name in ROW_COLUMNS[1:]}
    matched = match_columns(ROW_COLUMNS[1:], others, mapping, optional=ROW_COLUMNS[1:], where=path)
    return {"video": video, **{ours: theirs for ours, theirs in matched.items() if theirs}}


@dataclass
class ParquetVideos:
    """The videos of some row groups of a Parquet file; a `VideoList`."""

    task: RowGroups
    place: str
    source: str
    """Name of the source, which begins the URL of a video."""
    columns: Mapping[str, str]
    """The recipe's `columns`."""
    index: VideoIndex | None
    """Finds videos by paths, for rows that hold a path alone; None where there is no source of videos."""
    reserved: frozenset[str]
    """Names that a column that is carried along may not have; it gets `source_` before its own."""
    max_file_bytes: int
    scratch: Path
    _schema: list[pa.Schema] = field(default_factory=list)

    @property
    def carried_schema(self) -> pa.Schema:
        """The columns of the file but those that are read, and those with bytes."""
        import pyarrow as pa

        if not self._schema:
            with open_file(self.place, self.task.file) as opened:
                self._schema.append(open_parquet(opened, self.task.file.path).schema_arrow)
        (schema,) = self._schema
        read = set(matched_columns(schema, self.columns, self.task.file.path).values())
        kept = [one for one in schema if one.name not in read | TURN_COLUMNS and not _has_binary(one.type)]
        return pa.schema([one.with_name(self._carried_name(one.name)).remove_metadata() for one in kept])

    def videos(self) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        """The video of each row. Raises `StageError` where the file is damaged."""
        import pyarrow as pa

        path, number = self.task.file.path, self.task.first_row
        with open_file(self.place, self.task.file) as opened:
            table = open_parquet(opened, path)
            columns = matched_columns(table.schema_arrow, self.columns, path)
            try:
                for batch in table.iter_batches(BUFFER_ROWS, row_groups=self.task.groups, use_threads=False):
                    for row in range(batch.num_rows):
                        yield from self._row(batch.slice(row, 1), columns, number)
                        number += 1
            except (pa.ArrowException, OSError) as error:
                raise StageError(f"{path} cannot be read in its row groups {self.task.groups}: {error}") from error

    def _row(
        self, row: pa.RecordBatch, columns: Mapping[str, str], number: int
    ) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        import pyarrow as pa

        data, name = _held(row.column(row.schema.names.index(columns["video"])))
        reference = name or f"{self.task.file.path}#{number}"
        texts = [_text(row, columns[one]) if one in columns else None for one in ROW_COLUMNS[1:]]
        wanted = wanted_clip((f"{self.task.file.path}#{number}".encode(), *texts), 0)
        schema = self.carried_schema
        theirs = {self._carried_name(one): one for one in row.schema.names}
        carried = [row.column(row.schema.names.index(theirs[one])) for one in schema.names]
        listed = ListedVideo(
            reference=reference,
            url=f"{self.source}:{reference}",
            wanted=[wanted],
            carried=pa.Table.from_arrays(carried, schema=schema) if carried else _no_columns(),
        )
        if data is not None:
            with self._written(data) as outcome:
                yield listed, outcome
            return
        where = ClipReason.VIDEO_MISSING if self.index is None or name is None else self.index.find(name)
        if self.index is None or isinstance(where, ItemReason):
            yield listed, where if isinstance(where, ItemReason) else ClipReason.VIDEO_MISSING
            return
        with opened_video(self.index.place, where, self.scratch, self.max_file_bytes) as outcome:
            yield listed, outcome

    @contextmanager
    def _written(self, data: memoryview) -> Iterator[VideoOutcome]:
        if len(data) > self.max_file_bytes:
            yield ClipReason.TOO_MANY_BYTES
            return
        path = self.scratch / "video"
        path.write_bytes(data)
        try:
            yield VideoFile(path, hashlib.sha256(data).digest())
        finally:
            path.unlink(missing_ok=True)

    def _carried_name(self, name: str) -> str:
        return f"source_{name}" if name in self.reserved else name


def _held(column: pa.Array) -> tuple[memoryview | None, str | None]:
    """The bytes of a video without a copy of them, and its path; each None where the row has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = None
    if pa.types.is_struct(column.type):
        if column.type.get_field_index("path") >= 0:
            (spelled,) = pc.struct_field(column, "path").cast(pa.large_binary()).to_pylist()
            name = None if spelled is None else spelled.decode("utf-8", "backslashreplace")
        column = pc.struct_field(column, "bytes")
    value = column.cast(pa.large_binary())[0]
    return (memoryview(value.as_buffer()) if value.is_valid else None), name or None


def _text(row: pa.RecordBatch, name: str) -> bytes | None:
    """A value as the bytes of its text: numbers as they are spelled."""
    import pyarrow as pa

    column = row.column(row.schema.names.index(name))
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.string())
    (value,) = column.cast(pa.large_binary()).to_pylist()
    return value  # type: ignore[no-any-return]


def _no_columns() -> pa.Table:
    import pyarrow as pa

    return pa.table({"row": [0]}).select([])


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds the bytes of one video a row."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _has_binary(kind: Any) -> bool:
    if _is_binary(kind):
        return True
    return any(_has_binary(kind.field(number).type) for number in range(kind.num_fields))


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
