"""The map of packed rows: where every row lies and how much work it is, as one file that the processes of a host share.

    rows-<16 digits>.map   header; 40 bytes for each row (`ROW_FIELDS`); 24 bytes for each part and one record more
                           (`PART_FIELDS`); the names of the parts' files, a line break between two

Dealing out a step needs the work of rows from every part. Their indexes hold the samples of each row as well: 6.3 GB in
14,000 parts, which no loader has to read: it maps 288 MB for 7.2 million rows, once for all processes of a host.

The map is derived from the committed indexes, decides nothing and is no part of the artifact: it lies beside the
manifest and is named by that manifest's digest. It is made before a worker group starts, and again where it is missing.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any, Final

from neo_model.costs.flops import Work
from stages.artifacts.kinds import Rows
from stages.formats.packed_rows.row_index import (
    NUM_INDEX_READERS,
    WORK_COLUMNS,
    DamagedPartError,
    PartFiles,
    RowIndex,
    RowPlace,
    documents_of,
    outside,
)
from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.local_files import local_file

MAGIC: Final = b"NEO-MAP1"
"""First bytes of a map, with the number of its layout."""
HEADER: Final = Struct("<8sQ32sQQQ")
"""Magic, xxh3 of all that follows, sha256 of the manifest, number of rows, number of parts, bytes of the names."""
DIGESTED_FROM: Final = 16
"""First byte that the digest covers: all but the magic and itself."""
ROW_FIELDS: Final = [
    ("offset", "<u8"),
    ("digest", "<u8"),
    ("num_pairs", "<u8"),
    ("size_bytes", "<u4"),
    ("num_tokens", "<u4"),
    ("num_patches", "<u4"),
    ("num_supervised", "<u4"),
]
"""Fields of a row, as numpy names types: columns of `index.parquet`. 40 bytes."""
PART_FIELDS: Final = [("first_row", "<u8"), ("tar_bytes", "<u8"), ("name_start", "<u8")]
"""Fields of a part: its first row, the size of its tar, and where its names begin. One record more holds the ends."""
DIGITS: Final = 16
"""Digits of the manifest's sha256 in the name of its map."""


class RowMap:
    """Where the rows of an artifact lie, from its map. Opened at first use; pickles without what it has opened."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._opening = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return RowMap, (self.rows.without_parts(),)

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return len(self._opened.rows)

    def find(self, row: int) -> int:
        """Number of the part that holds a row. Raises `IndexError` outside the rows."""
        self._check_is_inside(row)
        return int(self._opened.parts["first_row"].searchsorted(row, side="right")) - 1

    def place(self, row: int) -> RowPlace:
        """Where a row lies, and the digest of its bytes. Raises `IndexError` outside the rows."""
        part = self.find(row)
        found = self._opened.rows[row]
        return RowPlace(part, int(found["offset"]), int(found["size_bytes"]), int(found["digest"]))

    def works(self, rows: Sequence[int]) -> list[Work]:
        """How much work each row is for the network."""
        for row in (min(rows, default=0), max(rows, default=0)):
            self._check_is_inside(row)
        found = self._opened.rows[list(rows)]
        sizes = zip(*(found[name].tolist() for name in WORK_COLUMNS), strict=True)
        return [Work(**dict(zip(WORK_COLUMNS, one, strict=True))) for one in sizes]

    def files(self, part: int) -> PartFiles:
        """The files of a part, as they were committed."""
        return self._opened.files(part)

    def documents(self, row: int) -> list[tuple[bytes, str, int]]:
        """Sample id, source and number of tokens of each document of a row, from the index of its part."""
        part = self.find(row)
        return documents_of(self.rows, self.files(part), row - int(self._opened.parts["first_row"][part]))

    def _check_is_inside(self, row: int) -> None:
        if not 0 <= row < self.num_rows:
            raise outside(row, self.num_rows, self.rows)

    @cached_property
    def _opened(self) -> _Mapped:
        with self._opening:
            if (opened := self.__dict__.get("_opened")) is not None:  # by another thread, meanwhile
                return opened  # type: ignore[no-any-return]
            key = map_key(self.rows)
            size_bytes = self.rows.store.size_bytes(key)
            if size_bytes is None:
                make_map(self.rows)
                size_bytes = self.rows.store.size_bytes(key) or 0
            return _Mapped(self.rows, key, size_bytes)


class _Mapped:
    """The file of a map in memory, whose pages all processes of a host share. In use as long as this lives."""

    def __init__(self, rows: Rows, key: str, size_bytes: int) -> None:
        import numpy as np

        self._in_use = ExitStack()
        path = self._in_use.enter_context(local_file(rows.store, key, size_bytes))
        data = _file_in_memory(path)
        num_rows, num_parts, names_bytes = _checked(data, rows, path)
        starts = [
            HEADER.size,
            num_rows * np.dtype(ROW_FIELDS).itemsize,
            (num_parts + 1) * np.dtype(PART_FIELDS).itemsize,
        ]
        _, rows_end, parts_end = np.cumsum(starts).tolist()
        self.rows = np.frombuffer(data, ROW_FIELDS, num_rows, HEADER.size)
        self.parts = np.frombuffer(data, PART_FIELDS, num_parts + 1, rows_end)
        self._names = memoryview(data)[parts_end : parts_end + names_bytes]

    def files(self, part: int) -> PartFiles:
        start, end = self.parts["name_start"][part : part + 2].tolist()
        name, tar_key, index_key, index_sha256 = bytes(self._names[start:end]).decode().split("\n")
        return PartFiles(name, tar_key, index_key, index_sha256, int(self.parts["tar_bytes"][part]))


def mapped_rows(rows: Rows) -> Rows:
    """The same rows for a worker group: with their map made, and without the records of their parts.

    Where the index of a part is damaged there is no map yet: the ranks meet the damage, and have a policy for it.
    """
    with suppress(DamagedPartError):
        if rows.store.size_bytes(map_key(rows)) is None:
            make_map(rows)
    return rows.without_parts()


def map_key(rows: Rows) -> str:
    """Where the map of an artifact lies."""
    return f"{rows.folder}/rows-{rows.head.manifest_sha256[:DIGITS]}.map"


def make_map(rows: Rows) -> None:
    """Derive the map of an artifact from its indexes, each read once, and put it into the store.

    Two processes may do so at once: they write the same bytes. Raises `DamagedPartError`.
    """
    key = map_key(rows)
    with tempfile.TemporaryDirectory(prefix="neo-row-map-") as folder:
        path = Path(folder) / "rows.map"
        _write(rows, path)
        with fault_point("rows.mapped", key):
            rows.store.upload(path, key)


def _write(rows: Rows, path: Path) -> None:
    import numpy as np
    import xxhash

    index = RowIndex(rows)
    names, starts = bytearray(), [0]
    files = [index.files(part) for part in range(len(index.parts))]
    for one in files:
        names += "\n".join(one.names).encode()
        starts.append(len(names))
    parts = np.zeros(len(files) + 1, PART_FIELDS)
    parts["first_row"], parts["name_start"] = index.first_rows, starts
    parts["tar_bytes"][:-1] = [one.tar_bytes for one in files]
    sha256 = bytes.fromhex(rows.head.manifest_sha256)
    header = HEADER.pack(MAGIC, 0, sha256, index.num_rows, len(files), len(names))
    digest = xxhash.xxh3_64(header[DIGESTED_FROM:])
    with path.open("wb") as file:
        file.write(header)
        for data in chain(_tables(index), [parts.tobytes(), bytes(names)]):
            digest.update(data)
            file.write(data)
        file.seek(0)
        file.write(MAGIC + digest.intdigest().to_bytes(8, "little"))


def _tables(index: RowIndex) -> Iterator[bytes]:
    """The rows of each part as bytes of the map, in order. Indexes are read and parsed side by side."""
    from stages.formats.read_ahead import ahead

    return ahead(lambda part: _table(index, part), range(len(index.parts)), NUM_INDEX_READERS)


def _table(index: RowIndex, part: int) -> bytes:
    import numpy as np

    columns = index.columns_of(part, [name for name, _ in ROW_FIELDS])
    table = np.zeros(len(columns["offset"]), ROW_FIELDS)
    for name, kind in ROW_FIELDS:
        values = columns[name]
        if len(values) and int(values.max()) > np.iinfo(kind).max:
            raise StoreError(f"{name} of a row in part {index.files(part).name} of {index.rows!r} is {values.max()}")
        table[name] = values
    return table.tobytes()


def _file_in_memory(path: Path) -> mmap.mmap | bytes:
    if not path.stat().st_size:  # which cannot be mapped
        return b""
    handle = os.open(path, os.O_RDONLY)
    try:
        return mmap.mmap(handle, 0, prot=mmap.PROT_READ)
    finally:
        os.close(handle)


def _checked(data: mmap.mmap | bytes, rows: Rows, path: Path) -> tuple[int, int, int]:
    """Number of rows, of parts, and bytes of names. Raises `StoreError` where the file is not the map of `rows`."""
    import xxhash

    if len(data) >= HEADER.size:
        magic, digest, sha256, *numbers = HEADER.unpack_from(data)
        is_own = (magic, sha256.hex()) == (MAGIC, rows.head.manifest_sha256)
        if is_own and xxhash.xxh3_64_intdigest(memoryview(data)[DIGESTED_FROM:]) == digest:
            num_rows, num_parts, names_bytes = numbers
            return num_rows, num_parts, names_bytes
    raise StoreError(
        f"{path}, the map of {rows!r}, is damaged: remove it and {map_key(rows)}, and run again. It is derived from "
        "the indexes of the rows, and is made again"
    )
