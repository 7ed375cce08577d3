"""Reads packed rows: any row by one range read, checked, at the same cost wherever it lies.

Owns the reading of a row by its number. `row_index.py` knows where the row lies, and `sample_index.py` knows which rows
hold a sample. Reading from several threads is safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neo_model.costs.flops import Work
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import PLAN_PART, PLAN_PHASE, ROWS_FILE, Rows
from stages.formats.packed_rows.row_format import Row, RowLayoutError, parse_row
from stages.formats.packed_rows.row_index import DamagedPartError, RowIndex, RowPositions
from stages.formats.packed_rows.sample_index import SampleIndex
from stages.store.errors import CutShortError, StoreError
from stages.store.local_folder import close_kept_files

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DamagedPartError", "DamagedRowError", "Row", "RowReader"]


class DamagedRowError(DamagedPartError):
    """A row is not what was committed; the message names the shard, the row and what to do."""

    def __init__(self, message: str, rows: str = "", part: str = "", row: int = -1) -> None:
        super().__init__(message, rows, part)
        self.row = row
        """Number of the damaged row."""


class _OtherDigestError(StoreError):
    """Bytes of a row that are not those that were committed."""


class RowReader:
    """The rows of an artifact, by number. Pickles small: the indexes that it has read are not sent along."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._index = RowIndex(rows)
        self._opened: set[int] = set()
        """Numbers of the parts whose tar has the committed size, as a check found."""

    def __reduce__(self) -> tuple[Any, ...]:
        return RowReader, (self.rows,)

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return self._index.first_rows[-1]

    @property
    def row_tokens(self) -> int:
        """Length of a row, in tokens."""
        return int(self.rows.head.recipe["max_row_tokens"])

    @property
    def rows_together(self) -> int:
        """Consecutive rows that were packed to cost alike, and are read together; 1 where none were."""
        return int(self.rows.head.recipe.get("rows_together", 1))

    def __iter__(self) -> Iterator[Row]:
        return map(self.read, range(self.num_rows))

    def read(self, row: int) -> Row:
        """One row: one range read, its digest checked. The tars of a local folder stay open.

        Raises `IndexError` outside the rows, `DamagedRowError` where the bytes are not those that were committed,
        `DamagedPartError` where the index is not.
        """
        part, number = self._index.find(row)
        positions = self._index.positions_of(part)
        if part not in self._opened:
            self._check_tar(part, row)
        try:
            return parse_row(row, self._checked(positions, number))
        except (CutShortError, FileNotFoundError, _OtherDigestError, RowLayoutError) as error:
            raise self._damaged(part, row, str(error)) from error

    def work(self, row: int) -> Work:
        """How much work a row is for the network, from the index alone, even if the row is damaged."""
        return self._index.work(row)

    def works(self, rows: Sequence[int]) -> list[Work]:
        """`work` of each row. From an object store, many indexes are read at a time."""
        return self._index.works(rows)

    def sample_ids(self, row: int) -> list[bytes]:
        """The sample of each document of a row, from the index alone, even if the row is damaged."""
        return [sample_id for sample_id, *_ in self._index.documents(row)]

    def documents(self, row: int) -> list[tuple[bytes, str, int]]:
        """Sample id, source and number of tokens of each document of a row, from the index alone."""
        return self._index.documents(row)

    def part_of(self, row: int) -> str:
        """The name of the part that holds a row."""
        return self._index.parts[self._index.find(row)[0]].part

    def index(self, *columns: str) -> pa.Table:
        """Columns of the index over all rows, in order of the rows; all columns if none is named."""
        return self._index.table(columns)

    def rows_of(self, sample_id: bytes) -> list[int]:
        """The rows that hold a sample, or a piece of it: one small read, wherever they lie."""
        return self.samples.rows_of(sample_id)

    @cached_property
    def samples(self) -> SampleIndex:
        """The index from samples to rows."""
        return SampleIndex(self.rows, self.rows.part(PLAN_PART, PLAN_PHASE))

    def _checked(self, positions: RowPositions, number: int) -> bytes:
        """The bytes of a row, with the digest that was committed."""
        try:
            return self._read_once(positions, number)
        except (CutShortError, _OtherDigestError):
            # A repair may have replaced a damaged tar since it was opened: open it again and read once more.
            close_kept_files()
            return self._read_once(positions, number)

    def _read_once(self, positions: RowPositions, number: int) -> bytes:
        import xxhash

        offset, size_bytes = int(positions.offsets[number]), int(positions.sizes_bytes[number])
        data = self.rows.store.read_range(positions.key, offset, size_bytes, keep_open=True)
        if xxhash.xxh3_64_intdigest(data) != int(positions.digests[number]):
            raise _OtherDigestError(f"bytes {offset} to {offset + size_bytes} have another digest")
        return data

    def _check_tar(self, part: int, row: int) -> None:
        """Compare the size of a part's tar with what was committed, before its first row is read."""
        tar = self._index.parts[part].file(ROWS_FILE)
        size_bytes = self.rows.store.size_bytes(tar.key)
        if size_bytes != tar.size_bytes:
            actual = "missing" if size_bytes is None else f"{size_bytes} bytes"
            raise self._damaged(part, row, f"the tar is {actual} of {tar.size_bytes} bytes")
        self._opened.add(part)

    def _damaged(self, part: int, row: int, detail: str) -> DamagedRowError:
        record = self._index.parts[part]
        return DamagedRowError(
            f"row {row} in {record.file(ROWS_FILE).key} (part {record.part} of {self.rows!r}) is damaged: {detail}; "
            f"{mended_by(self.rows.short)}",
            self.rows.fingerprint,
            record.part,
            row,
        )
