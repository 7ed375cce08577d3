"""Read packed rows: any row by one range read, checked, at the same cost wherever it lies.

Owns the way from a row's number to its bytes; that from a sample to its rows is `packing/sample_index.py`. A part
knows from its record which rows it holds, and its index where they lie; indexes are read when they are first wanted.
Reading from several threads is fine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

from neo_model.costs.flops import Work
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import PLAN_PART, PLAN_PHASE, ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.artifacts.records import PartRecord
from stages.formats.row_format import Row, RowLayoutError, parse_row
from stages.formats.sample_index import SampleIndex
from stages.formats.sample_table import read_table
from stages.store.errors import CutShortError, StoreError
from stages.store.local_folder import close_kept_files

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["DamagedPartError", "DamagedRowError", "Row", "RowReader"]

NUM_INDEX_READERS = 32
"""Indexes that are read at a time from an object store."""
WORK_COLUMNS = ("num_tokens", "num_pairs", "num_patches", "num_supervised")
"""What the index says that a row asks of the network: the fields of `Work`."""


class DamagedPartError(StoreError):
    """The index of a part is not what was committed, so none of its rows can be found; the message says what to do."""

    def __init__(self, said: str, rows: str = "", part: str = "") -> None:
        super().__init__(said)
        self.rows = rows
        """Fingerprint of the artifact."""
        self.part = part


class DamagedRowError(DamagedPartError):
    """A row is not what was committed; the message names the shard, the row and what to do."""

    def __init__(self, said: str, rows: str = "", part: str = "", row: int = -1) -> None:
        super().__init__(said, rows, part)
        self.row = row


class _OtherDigestError(StoreError):
    """Bytes of a row that are not those that were committed."""


@dataclass(frozen=True)
class _Places:
    """Where the rows of one part lie in its tar."""

    key: str
    """Of the tar."""
    offsets: NDArray[np.int64]
    sizes_bytes: NDArray[np.int64]
    digests: NDArray[np.uint64]
    work: NDArray[np.int64]
    """[rows, 4]: tokens, visible pairs, patches, tokens that the loss asks for."""


class RowReader:
    """The rows of an artifact, by number. Pickles small: what it has read of indexes stays behind."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._places: dict[int, _Places] = {}
        self._reading_indexes = Lock()
        self._opened: set[int] = set()
        """Parts whose tar has the committed size."""

    def __reduce__(self) -> tuple[Any, ...]:
        return RowReader, (self.rows,)

    @property
    def num_rows(self) -> int:
        return self._first_rows[-1]

    @property
    def row_tokens(self) -> int:
        """How many tokens a row can hold."""
        return int(self.rows.manifest.recipe["max_row_tokens"])

    def __iter__(self) -> Iterator[Row]:
        return map(self.read, range(self.num_rows))

    def read(self, row: int) -> Row:
        """One row: one range read, its digest checked. The tars of a local folder stay open.

        Raises `IndexError` outside the rows, `DamagedRowError` where the bytes are not those that were committed,
        `DamagedPartError` where the index is not.
        """
        part, number = self._find(row)
        places = self._places_of(part)
        if part not in self._opened:
            self._open(part, row)
        try:
            return parse_row(row, self._checked(places, number))
        except (CutShortError, FileNotFoundError, _OtherDigestError, RowLayoutError) as error:
            raise self._damaged(part, row, str(error)) from error

    def _checked(self, places: _Places, number: int) -> bytes:
        """The bytes of a row, with the digest that was committed."""
        try:
            return self._read_once(places, number)
        except (CutShortError, _OtherDigestError):  # somebody may have put a good copy in the place of a damaged tar
            close_kept_files()
            return self._read_once(places, number)

    def _read_once(self, places: _Places, number: int) -> bytes:
        import xxhash

        offset, size_bytes = int(places.offsets[number]), int(places.sizes_bytes[number])
        data = self.rows.store.read_range(places.key, offset, size_bytes, keep_open=True)
        if xxhash.xxh3_64_intdigest(data) != int(places.digests[number]):
            raise _OtherDigestError(f"bytes {offset} to {offset + size_bytes} have another digest")
        return data

    def work(self, row: int) -> Work:
        """What a row asks of the network, as the index says, whatever became of the row. Raises as `read` does."""
        part, number = self._find(row)
        return Work(**dict(zip(WORK_COLUMNS, self._places_of(part).work[number].tolist(), strict=True)))

    def works(self, rows: Sequence[int]) -> list[Work]:
        """`work` of each row; where each read takes a round trip, many indexes are read at a time."""
        if self.rows.store.folder is None:
            with self._reading_indexes:  # else each thread that deals out a step would read all of them
                unread = {part for part, _ in map(self._find, rows)} - self._places.keys()
                with ThreadPoolExecutor(NUM_INDEX_READERS) as readers:
                    list(readers.map(self._places_of, sorted(unread)))
        return [self.work(row) for row in rows]

    def sample_ids(self, row: int) -> list[bytes]:
        """The samples of a row, as the index says, whatever became of the row."""
        return [sample_id for sample_id, *_ in self.documents(row)]

    def documents(self, row: int) -> list[tuple[bytes, str, int]]:
        """Sample, source and tokens of each document of a row, likewise."""
        part, number = self._find(row)
        lists = read_table(self._read_index(part), ["sample_ids", "sources", "document_tokens"]).slice(number, 1)
        return list(zip(*lists.to_pylist()[0].values(), strict=True))

    def part_of(self, row: int) -> str:
        """The name of the part that holds a row."""
        return self._parts[self._find(row)[0]].part

    def index(self, *columns: str) -> pa.Table:
        """Columns of the index over all rows, in order of the rows; all columns if none is named."""
        import pyarrow as pa

        wanted = list(columns) or None
        return pa.concat_tables(read_table(self.rows.read(part.file(ROW_INDEX_FILE)), wanted) for part in self._parts)

    def rows_of(self, sample_id: bytes) -> list[int]:
        """The rows that hold a sample, or a piece of it: one small read, wherever they lie."""
        return self.samples.rows_of(sample_id)

    @cached_property
    def samples(self) -> SampleIndex:
        """From samples to rows."""
        return SampleIndex(self.rows, self.rows.part(PLAN_PART, PLAN_PHASE))

    @cached_property
    def _parts(self) -> tuple[PartRecord, ...]:
        return self.rows.phase(ROWS_PHASE)

    @cached_property
    def _first_rows(self) -> list[int]:
        """The first row of each part, and the number of all rows."""
        return [*(int(part.facts["first_row"]) for part in self._parts), self._num_rows_of_last_part()]

    def _num_rows_of_last_part(self) -> int:
        last = self._parts[-1].facts
        return int(last["first_row"]) + int(last["num_rows"])

    def _find(self, row: int) -> tuple[int, int]:
        """Number of the part that holds a row, and of the row in it."""
        if not 0 <= row < self.num_rows:
            raise IndexError(f"row {row} is outside 0..{self.num_rows - 1} of {self.rows!r}")
        part = bisect_right(self._first_rows, row) - 1
        return part, row - self._first_rows[part]

    def _places_of(self, part: int) -> _Places:
        found = self._places.get(part)
        if found is None:
            found = self._places[part] = self._read_places(part)
        return found

    def _open(self, part: int, row: int) -> None:
        """Look at the size of a part's tar, for the first of its rows that is read."""
        tar = self._parts[part].file(ROWS_FILE)
        size_bytes = self.rows.store.size_bytes(tar.key)
        if size_bytes != tar.size_bytes:
            found = "missing" if size_bytes is None else f"{size_bytes} bytes"
            raise self._damaged(part, row, f"the tar is {found} of {tar.size_bytes} bytes")
        self._opened.add(part)

    def _read_places(self, part: int) -> _Places:
        import numpy as np

        table = read_table(self._read_index(part), ["offset", "size_bytes", "digest", *WORK_COLUMNS])
        return _Places(
            key=self._parts[part].file(ROWS_FILE).key,
            offsets=table["offset"].to_numpy(),
            sizes_bytes=table["size_bytes"].to_numpy(),
            digests=table["digest"].to_numpy(),
            work=np.stack([table[name].to_numpy().astype(np.int64) for name in WORK_COLUMNS], axis=1),
        )

    def _read_index(self, part: int) -> bytes:
        """The index of a part, checked by its digest: all ranks deal rows out by what it says."""
        record = self._parts[part]
        entry = record.file(ROW_INDEX_FILE)
        data = self.rows.store.read(entry.key)
        if data is None or sha256(data).hexdigest() != entry.sha256:
            found = "is missing" if data is None else "is damaged: it has another digest"
            said = f"{entry.key} (part {record.part} of {self.rows!r}) {found}; {mended_by(self.rows.short)}"
            raise DamagedPartError(said, self.rows.fingerprint, record.part)
        return data

    def _damaged(self, part: int, row: int, detail: str) -> DamagedRowError:
        record = self._parts[part]
        return DamagedRowError(
            f"row {row} in {record.file(ROWS_FILE).key} (part {record.part} of {self.rows!r}) is damaged: {detail}; "
            f"{mended_by(self.rows.short)}",
            self.rows.fingerprint,
            record.part,
            row,
        )
