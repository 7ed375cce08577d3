"""Reads the first rows of a Parquet file in the store by range reads, never the whole of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import FileEntry
from stages.store.range_stream import buffered_ranges

if TYPE_CHECKING:
    import pyarrow as pa

BUFFER_BYTES = 1 << 20
"""Least number of bytes of one range read."""


def first_rows(artifact: Artifact, entry: FileEntry, skip: int, num_rows: int) -> pa.Table:
    """Rows `skip` to `skip + num_rows` of a Parquet file of an artifact; only the row groups that hold them are read.

    Raises `StoreError` where the file is missing or cut short.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = buffered_ranges(entry.size_bytes, partial(artifact.store.read_range, entry.key), BUFFER_BYTES)
    file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False)
    wanted, first = [], None
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        if start < skip + num_rows and skip < stop:
            first = start if first is None else first
            wanted.append(group)
        start = stop
    if first is None:
        return file.schema_arrow.empty_table()
    return file.read_row_groups(wanted, use_threads=False).slice(skip - first, num_rows)
