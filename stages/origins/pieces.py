"""Cuts large files into pieces that can be read by themselves: row groups of Parquet, lines of plain JSONL and text.

CSV, JSON and compressed files are read whole: where a row begins in them, only their beginning tells.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from pydantic import BaseModel, ConfigDict

from stages.contract import PinnedFile, PinnedSource
from stages.origins.files import open_file
from stages.origins.tables.batches import damage_named, read_batches
from stages.origins.tables.byte_streams import READ_BYTES
from stages.origins.tables.formats import TableFormat, TableOptions, format_of, known_format
from stages.origins.tables.parquet import open_parquet, read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_BYTES = 128 * 1024 * 1024
"""Bytes of a piece, about; files of less than twice as many are not cut."""


class FilePiece(BaseModel):
    """A file, or some of its rows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: PinnedFile
    """The whole file."""
    first: int = 0
    """First row group of Parquet, or byte of JSONL and text at or behind which the first row begins."""
    until: int | None = None
    """Row group, or byte, behind the last; None for the end of the file."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the piece, about."""
        is_lines = self.until is not None and format_of(self.file.path).kind != "parquet"
        return (self.until or 0) - self.first if is_lines else min(self.file.size_bytes, 2 * PIECE_BYTES)


def pieces_of(pinned: PinnedSource, options: TableOptions) -> Iterator[FilePiece]:
    """The pieces of a source's files, in order. Files that are no tables by their names are left out beside tables.

    Raises `StageError` where there is no table at all. Of large Parquet files the footer is read.
    """
    for file in table_files(pinned):
        table_format = format_of(file.path)
        if file.size_bytes < 2 * PIECE_BYTES or table_format.compression:
            yield FilePiece(file=file)
        elif table_format.kind == "parquet":
            yield from _row_groups(pinned.place, file)
        elif _is_cut_by_lines(pinned.place, file, table_format, options):
            for first in range(0, file.size_bytes, PIECE_BYTES):
                yield FilePiece(file=file, first=first, until=min(first + PIECE_BYTES, file.size_bytes))
        else:
            yield FilePiece(file=file)


def table_files(pinned: PinnedSource) -> list[PinnedFile]:
    """The files that are tables by their names. Raises `StageError` where there are files, and no table among them."""
    tables = [file for file in pinned.files if known_format(file.path) is not None]
    if not tables and pinned.files:
        format_of(pinned.files[0].path)
    return tables


def piece_batches(file: BinaryIO, piece: FilePiece, options: TableOptions) -> Iterator[pa.RecordBatch]:
    """The rows of a piece, like `read_batches`."""
    path, table_format = piece.file.path, format_of(piece.file.path)
    if piece.until is None:
        yield from read_batches(file, table_format, options, name=path)
    elif table_format.kind == "parquet":
        with damage_named(path):
            yield from read_parquet(file, path, range(piece.first, piece.until))
    else:
        first, until = (_line_start(file, offset, piece.file.size_bytes) for offset in (piece.first, piece.until))
        file.seek(first)
        stretch = cast(BinaryIO, io.BufferedReader(_Stretch(file, until - first), READ_BYTES))
        yield from read_batches(stretch, table_format, options, name=path)


def _row_groups(place: str, file: PinnedFile) -> Iterator[FilePiece]:
    with open_file(place, file) as opened:
        meta = open_parquet(opened, file.path).metadata
    first, num_bytes = 0, 0
    for group in range(meta.num_row_groups):
        columns = (meta.row_group(group).column(number) for number in range(meta.num_columns))
        num_bytes += sum(column.total_compressed_size for column in columns)
        if num_bytes >= PIECE_BYTES or group == meta.num_row_groups - 1:
            yield FilePiece(file=file, first=first, until=group + 1)
            first, num_bytes = group + 1, 0


def _is_cut_by_lines(place: str, file: PinnedFile, table_format: TableFormat, options: TableOptions) -> bool:
    """Whether each line is a row and lines end with LF: not in UTF-16, and not in text that is one row."""
    if table_format.kind not in ("jsonl", "txt") or (table_format.kind == "txt" and options.txt_rows == "file"):
        return False
    with open_file(place, file) as opened:
        head = opened.read(READ_BYTES)
    return not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\n" in head


def _line_start(file: BinaryIO, offset: int, size_bytes: int) -> int:
    """Offset of the first line that begins at `offset` or behind it."""
    if offset in (0, size_bytes):
        return offset
    file.seek(offset - 1)
    start = offset - 1
    while chunk := file.read(READ_BYTES):
        end = chunk.find(b"\n")
        if end >= 0:
            return start + end + 1
        start += len(chunk)
    return size_bytes


class _Stretch(io.RawIOBase):
    """The next `num_bytes` bytes of a file."""

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self._file = file
        self._left = num_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)
