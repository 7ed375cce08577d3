"""Where packed rows lie: the index of each part of phase `write`, read when it is first needed.

Leads from the number of a row to its tar, byte range and digest, and to how much work it is for the network.
Reading from several threads is safe.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from neo_model.costs.flops import Work
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.artifacts.records import PartRecord
from stages.contract import PartFacts
from stages.formats.sample_table import read_table
from stages.store.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

NUM_INDEX_READERS = 32
"""Indexes that are read at a time."""
WORK_COLUMNS = ("num_tokens", "num_pairs", "num_patches", "num_supervised")
"""Columns of the index that hold how much work a row is for the network: the fields of `Work`."""


class RowFacts(PartFacts):
    """What a part of phase `write` records of its rows."""

    first_row: int
    """Number of its first row."""
    num_rows: int
    """Rows in its tar."""
    num_documents: int = 0
    """Documents in these rows."""
    num_tokens: int = 0
    """Tokens in these rows."""
    num_images: int = 0
    """Pictures in these rows."""
    sources: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Source to the number of its `documents` and `tokens` in these rows."""


class DamagedPartError(StoreError):
    """The index of a part is not what was committed, so none of its rows can be read; the message says what to do."""

    def __init__(self, message: str, rows: str = "", part: str = "") -> None:
        super().__init__(message)
        self.rows = rows
        """Fingerprint of the artifact."""
        self.part = part
        """Name of the damaged part."""


@dataclass(frozen=True)
class PartFiles:
    """The files of a part of phase `write`, as they were committed."""

    name: str
    """Name of the part."""
    tar_key: str
    """Key of the tar with its rows."""
    index_key: str
    """Key of its index."""
    index_sha256: str
    """sha256 of the index, 64 hex digits."""
    tar_bytes: int
    """Size of the tar."""

    @classmethod
    def of(cls, record: PartRecord) -> PartFiles:
        """The files that a record names."""
        tar, index = record.file(ROWS_FILE), record.file(ROW_INDEX_FILE)
        return cls(record.part, tar.key, index.key, index.sha256, tar.size_bytes)

    @property
    def names(self) -> tuple[str, ...]:
        """All that is text, in the order of the fields."""
        return self.name, self.tar_key, self.index_key, self.index_sha256


class RowPlace(NamedTuple):
    """Where one row lies."""

    part: int
    """Number of its part."""
    offset: int
    """First byte in the tar of its part."""
    size_bytes: int
    """Length, in bytes."""
    digest: int
    """xxh3 of its bytes, 64 bits."""


@dataclass(frozen=True)
class RowPositions:
    """Where the R rows of one part lie in its tar."""

    offsets: NDArray[np.int64]
    """[R] first byte of each row."""
    sizes_bytes: NDArray[np.int64]
    """[R] length of each row, in bytes."""
    digests: NDArray[np.uint64]
    """[R] xxh3 of the bytes of each row, 64 bits."""
    work: NDArray[np.int64]
    """[R, 4] tokens, visible pairs of tokens, patches, and tokens that the loss asks for."""


class RowIndex:
    """The indexes of all parts of Rows, each read once."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._positions: dict[int, RowPositions] = {}
        self._reading = Lock()

    @cached_property
    def parts(self) -> tuple[PartRecord, ...]:
        """The records of phase `write`, in order of their rows."""
        return self.rows.phase(ROWS_PHASE)

    @cached_property
    def first_rows(self) -> list[int]:
        """The first row of each part, then the number of all rows: [0, 512, 1000] for parts of 512 and 488 rows."""
        # Read without `RowFacts`: parsing 40,000 records takes 250 ms, reading one key of each 2 ms.
        last = RowFacts.of(self.parts[-1])
        return [*(int(part.facts["first_row"]) for part in self.parts), last.first_row + last.num_rows]

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return self.first_rows[-1]

    def find(self, row: int) -> int:
        """Number of the part that holds a row. Raises `IndexError` outside the rows.

        With parts that begin at the rows 0, 512 and 1024, row 600 is in part 1.
        """
        if not 0 <= row < self.num_rows:
            raise outside(row, self.num_rows, self.rows)
        return bisect_right(self.first_rows, row) - 1

    def files(self, part: int) -> PartFiles:
        """The files of a part, as they were committed."""
        return PartFiles.of(self.parts[part])

    def place(self, row: int) -> RowPlace:
        """Where a row lies, and the digest of its bytes. Raises as `find` and `positions_of` do."""
        part, number = self._split(row)
        positions = self.positions_of(part)
        numbers = (positions.offsets[number], positions.sizes_bytes[number], positions.digests[number])
        return RowPlace(part, *map(int, numbers))

    def positions_of(self, part: int) -> RowPositions:
        """Where the rows of a part lie. Raises `DamagedPartError`."""
        positions = self._positions.get(part)
        if positions is None:
            positions = self._positions[part] = self._read_positions(part)
        return positions

    def works(self, rows: Sequence[int]) -> list[Work]:
        """How much work each row is for the network, from the index alone. Raises as `find` and `positions_of` do.

        Indexes that were not read yet are read `NUM_INDEX_READERS` at a time.
        """
        with self._reading:  # without the lock, each thread that asks would read all of them
            unread = set(map(self.find, rows)) - self._positions.keys()
            with ThreadPoolExecutor(NUM_INDEX_READERS) as readers:
                list(readers.map(self.positions_of, sorted(unread)))
        return [self._work(row) for row in rows]

    def documents(self, row: int) -> list[tuple[bytes, str, int]]:
        """Sample id, source and number of tokens of each document of a row, from the index alone."""
        part, number = self._split(row)
        return documents_of(self.rows, self.files(part), number)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Columns of the index over all rows, in order of the rows; all columns if none is named."""
        import pyarrow as pa

        entries = (part.file(ROW_INDEX_FILE) for part in self.parts)
        return pa.concat_tables(read_table(self.rows.read(entry), columns or None) for entry in entries)

    def columns_of(self, part: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the index of a part. Raises `DamagedPartError`."""
        table = read_table(_read_index(self.rows, self.files(part)), list(names))
        return {name: table[name].to_numpy() for name in names}

    def _split(self, row: int) -> tuple[int, int]:
        """Number of the part that holds a row, and of the row in it."""
        part = self.find(row)
        return part, row - self.first_rows[part]

    def _work(self, row: int) -> Work:
        part, number = self._split(row)
        return Work(**dict(zip(WORK_COLUMNS, self.positions_of(part).work[number].tolist(), strict=True)))

    def _read_positions(self, part: int) -> RowPositions:
        import numpy as np

        columns = self.columns_of(part, ["offset", "size_bytes", "digest", *WORK_COLUMNS])
        return RowPositions(
            offsets=columns["offset"],
            sizes_bytes=columns["size_bytes"],
            digests=columns["digest"],
            work=np.stack([columns[name].astype(np.int64) for name in WORK_COLUMNS], axis=1),
        )


def documents_of(rows: Rows, files: PartFiles, number: int) -> list[tuple[bytes, str, int]]:
    """Sample id, source and number of tokens of each document of row `number` of a part. Raises `DamagedPartError`."""
    columns = ["sample_ids", "sources", "document_tokens"]
    lists = read_table(_read_index(rows, files), columns).slice(number, 1)
    return list(zip(*lists.to_pylist()[0].values(), strict=True))


def outside(row: int, num_rows: int, rows: Rows) -> IndexError:
    """The error for a row that there is none of."""
    return IndexError(f"row {row} is outside 0..{num_rows - 1} of {rows!r}")


def _read_index(rows: Rows, files: PartFiles) -> bytes:
    """The index of a part, checked by its digest, because all ranks assign rows by its contents.

    Raises `DamagedPartError`.
    """
    data = rows.store.read(files.index_key)
    if data is None or sha256(data).hexdigest() != files.index_sha256:
        damage = "is missing" if data is None else "is damaged: it has another digest"
        message = f"{files.index_key} (part {files.name} of {rows!r}) {damage}; {mended_by(rows.short)}"
        raise DamagedPartError(message, rows.fingerprint, files.name)
    return data
