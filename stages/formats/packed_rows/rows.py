"""Reads packed rows: any row by one range read, checked, at the same cost wherever it lies.

Owns the reading of a row by its number. `row_index.py` and `row_map.py` know where the row lies, and `sample_index.py`
knows which rows hold a sample. Reading from several threads is safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neo_model.costs.flops import Work
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import PLAN_PART, PLAN_PHASE, Rows
from stages.formats.packed_rows.row_format import Row, RowLayoutError, parse_row
from stages.formats.packed_rows.row_index import DamagedPartError, RowIndex, RowPlace
from stages.formats.packed_rows.row_map import RowMap
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

    def __init__(self, rows: Rows, places: RowIndex | RowMap | None = None) -> None:
        """`places` says where rows lie: by default the index of each part, read when its first row is."""
        self.rows = rows
        self._index = places or RowIndex(rows)
        self._opened: set[int] = set()
        """Numbers of the parts whose tar has the committed size, as a check found."""

    @classmethod
    def mapped(cls, rows: Rows) -> RowReader:
        """A reader for training, which needs rows of all parts: by the map that the processes of a host share."""
        return cls(rows, RowMap(rows))

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._index, RowMap):
            return RowReader, (self.rows.without_parts(), self._index)
        return RowReader, (self.rows,)

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return self._index.num_rows

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
        place = self._index.place(row)
        if place.part not in self._opened:
            self._check_tar(place.part, row)
        try:
            return parse_row(row, self._checked(place))
        except (CutShortError, FileNotFoundError, _OtherDigestError, RowLayoutError) as error:
            raise self._damaged(place.part, row, str(error)) from error

    def work(self, row: int) -> Work:
        """How much work a row is for the network, from the index alone, even if the row is damaged."""
        return self.works([row])[0]

    def works(self, rows: Sequence[int]) -> list[Work]:
        """`work` of each row."""
        return self._index.works(rows)

    def sample_ids(self, row: int) -> list[bytes]:
        """The sample of each document of a row, from the index alone, even if the row is damaged."""
        return [sample_id for sample_id, *_ in self._index.documents(row)]

    def documents(self, row: int) -> list[tuple[bytes, str, int]]:
        """Sample id, source and number of tokens of each document of a row, from the index alone."""
        return self._index.documents(row)

    def part_of(self, row: int) -> str:
        """The name of the part that holds a row."""
        return self._index.files(self._index.find(row)).name

    def index(self, *columns: str) -> pa.Table:
        """Columns of the index over all rows, in order of the rows; all columns if none is named."""
        return RowIndex(self.rows).table(columns)

    def rows_of(self, sample_id: bytes) -> list[int]:
        """The rows that hold a sample, or a piece of it: one small read, wherever they lie."""
        return self.samples.rows_of(sample_id)

    @cached_property
    def samples(self) -> SampleIndex:
        """The index from samples to rows."""
        return SampleIndex(self.rows, self.rows.part(PLAN_PART, PLAN_PHASE))

    def _checked(self, place: RowPlace) -> bytes:
        """The bytes of a row, with the digest that was committed."""
        try:
            return self._read_once(place)
        except (CutShortError, _OtherDigestError):
            # A repair may have replaced a damaged tar since it was opened: open it again and read once more.
            close_kept_files()
            return self._read_once(place)

    def _read_once(self, place: RowPlace) -> bytes:
        import xxhash

        key = self._index.files(place.part).tar_key
        data = self.rows.store.read_range(key, place.offset, place.size_bytes, keep_open=True)
        if xxhash.xxh3_64_intdigest(data) != place.digest:
            raise _OtherDigestError(f"bytes {place.offset} to {place.offset + place.size_bytes} have another digest")
        return data

    def _check_tar(self, part: int, row: int) -> None:
        """Compare the size of a part's tar with what was committed, before its first row is read."""
        files = self._index.files(part)
        size_bytes = self.rows.store.size_bytes(files.tar_key)
        if size_bytes != files.tar_bytes:
            actual = "missing" if size_bytes is None else f"{size_bytes} bytes"
            raise self._damaged(part, row, f"the tar is {actual} of {files.tar_bytes} bytes")
        self._opened.add(part)

    def _damaged(self, part: int, row: int, detail: str) -> DamagedRowError:
        files = self._index.files(part)
        return DamagedRowError(
            f"row {row} in {files.tar_key} (part {files.name} of {self.rows!r}) is damaged: {detail}; "
            f"{mended_by(self.rows.short)}",
            self.rows.fingerprint,
            files.name,
            row,
        )
