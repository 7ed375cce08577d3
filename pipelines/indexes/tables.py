"""The tables of an artifact that are indexed: one for each part, by number, and how rows are read out of one.

    parts.parquet   a row for each part: `part`, `key` and `size_bytes` of its table, `num_rows`, `first_row` counted
                    through all parts, and `superseded`: reasons of rows whose verdict stands in a later part

It stands beside the indexes, so that a look-up reads no manifest of tens of megabytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.indexes.records import folder_of, parts_key
from pipelines.indexes.subjects import Indexed
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.artifacts.taken_over import num_table_rows, superseded_reasons
from stages.formats.sample_table import write_table
from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.range_stream import buffered_ranges
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

WHOLE_BYTES = 2**20
"""Tables up to this size are read in one request, whatever is wanted of them."""
LEAST_ROW_BYTES = 32
"""Bytes that a row takes in a table, at least: for tables whose rows nobody counted."""
READ_BYTES = 2**18
"""Least length of one read of a larger table, in bytes."""


@dataclass(frozen=True)
class PartTable:
    """The table of one part."""

    part: str
    """Name of the part, without what the phase puts before it."""
    key: str
    """Where the table lies."""
    size_bytes: int
    """Its length, in bytes."""
    superseded: tuple[str, ...]
    """Reasons of its rows whose verdict stands in a later part."""

    def open(self, store: Store) -> Any:
        """The table as a file of Parquet, of which columns are read by ranges. Raises `StoreError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.size_bytes <= WHOLE_BYTES or store.folder is not None:
            data = store.read(self.key)
            if data is None or len(data) != self.size_bytes:
                raise self._damaged("is missing" if data is None else f"has {len(data)} bytes")
            return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        stream = buffered_ranges(self.size_bytes, partial(store.read_range, self.key), READ_BYTES)
        return pq.ParquetFile(stream, pre_buffer=False)

    def _damaged(self, how: str) -> StoreError:
        return StoreError(
            f"{self.key} {how}, {self.size_bytes} bytes were committed; `neo audit REF --repair` names all that is "
            "damaged, and lets the next run make it again"
        )


@dataclass(frozen=True)
class PartTables:
    """The tables of all parts, by number."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, number: int) -> PartTable:
        return next(iter(PartTables(self.table.slice(number, 1))))

    def __iter__(self) -> Iterator[PartTable]:
        names = ("part", "key", "size_bytes", "superseded")
        columns = (self.table[name].to_pylist() for name in names)
        return (PartTable(part, key, size, tuple(reasons)) for part, key, size, reasons in zip(*columns, strict=True))

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """The first row of each part, counted through all of them."""
        first: NDArray[np.int64] = self.table["first_row"].to_numpy()
        return first

    def place_of(self, row: int) -> tuple[int, int]:
        """Number of the part that holds a row, counted through all tables, and the row in it.

        That is the row of the source, where an artifact was made of one list of rows, such as pairs of a URL table.
        """
        import numpy as np

        part = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return part, row - int(self.first_rows[part])

    def groups(self, rows_per_group: int, bytes_per_group: int) -> list[tuple[int, int]]:
        """Consecutive parts, (first, until), of so many rows or bytes at the least: what is indexed together."""
        groups, first, num_rows, num_bytes = [], 0, 0, 0
        counts, sizes = self.table["num_rows"].to_pylist(), self.table["size_bytes"].to_pylist()
        for number, (count, size_bytes) in enumerate(zip(counts, sizes, strict=True)):
            num_rows += count or size_bytes // LEAST_ROW_BYTES  # parts of an inner phase count no items
            num_bytes += size_bytes
            if num_rows >= rows_per_group or num_bytes >= bytes_per_group or number + 1 == len(counts):
                groups.append((first, number + 1))
                first, num_rows, num_bytes = number + 1, 0, 0
        return groups


def listed(artifact: Artifact, indexed: Indexed) -> PartTables:
    """The tables of an artifact that are indexed, by its manifest, which is read a part at a time."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    first_row = 0
    for record in artifact.each_part():
        entry = next((one for one in record.files if one.name == indexed.file_name), None)
        if entry is None or (indexed.phase and record.phase != indexed.phase):
            continue
        if not record.part.startswith(indexed.prefix):
            continue
        num_rows = num_table_rows(record)
        rows.append(
            {
                "part": record.part.removeprefix(indexed.prefix),
                "key": entry.key,
                "size_bytes": entry.size_bytes,
                "num_rows": num_rows,
                "first_row": first_row,
                "superseded": sorted(superseded_reasons(record)),
            }
        )
        first_row += num_rows
    return PartTables(pa.Table.from_pylist(rows, _schema()))


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = {name: pa.int64() for name in ("size_bytes", "num_rows", "first_row")}
    return pa.schema({"part": pa.string(), "key": pa.string(), **numbers, "superseded": pa.list_(pa.string())})


def keep(store: Store, head: ManifestHead, tables: PartTables) -> None:
    """Put the list of tables beside the indexes. Two processes may do so at once: they write the same bytes."""
    key = parts_key(folder_of(head))
    with tempfile.TemporaryDirectory(prefix="neo-index-") as folder:
        path = Path(folder) / "parts.parquet"
        write_table(tables.table, path)
        with fault_point("index.uploaded", key):
            store.upload(path, key)
