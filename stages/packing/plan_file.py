"""The plan as files: phase `plan` writes them, and each part of phase `write` reads its share.

    planned.bin     a record of 28 bytes for each document, row after row: the row, where the record of the document
                    lies, and its repetition and piece
    parts.parquet   a row for each part to be written: its rows, its range of planned.bin with a digest, and the
                    measured parts whose unfit drawings it accounts for

A row of `parts.parquet` is the `task` of a part of phase `write`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.artifacts.kinds import PLANNED_FILE, PLANNED_PARTS_FILE
from stages.artifacts.phase_files import damaged, read_file
from stages.contract import Part, PartRecord, PartTask
from stages.formats.sample_table import read_table
from stages.store.errors import CutShortError
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.formats.external_sort import Records

PLANNED_FIELDS = [
    ("row", "<u4"),
    ("measured", "<u4"),  # number of the measured part, in the order of its phase
    ("offset", "<u8"),  # of the document's record in that part's documents.bin
    ("size_bytes", "<u4"),
    ("repetition", "<u4"),
    ("piece", "<u4"),
]
"""Fields of a record of `planned.bin`, as numpy names types."""
PLANNED_BYTES = 28
"""Length of one record of `planned.bin`."""


class PlannedPart(PartTask):
    """The task of one part of phase `write`: a row of `parts.parquet`."""

    first_row: int
    """Number of its first row."""
    num_rows: int
    """Rows that it writes."""
    first_document: int
    """Number of its first document in `planned.bin`."""
    num_documents: int
    """Documents in its rows."""
    digest: int
    """xxh3 of its documents in `planned.bin`, 64 bits."""
    first_measured: int
    """Number of the first measured part whose unfit drawings it accounts for."""
    until_measured: int
    """Number of the measured part after the last whose unfit drawings it accounts for."""
    num_samples: int
    """Drawings that it accounts for: those whose first document it writes, and its share of the unfit drawings."""


def part_name(number: int) -> str:
    """The name of a part of phase `write`, five digits or more."""
    return f"{number:05d}"


def parts_table(planned: Sequence[PlannedPart]) -> pa.Table:
    """The table of planned parts, `parts.parquet`."""
    import pyarrow as pa

    names = PlannedPart.model_fields
    kinds = {"digest": pa.uint64()}
    return pa.table(
        {name: pa.array([getattr(one, name) for one in planned], kinds.get(name, pa.int64())) for name in names}
    )


def planned_parts(store: Store, plan: PartRecord) -> list[Part]:
    """The parts of phase `write`, read from a recorded plan."""
    rows = read_table(read_file(store, plan, PLANNED_PARTS_FILE)).to_pylist()
    return [Part(name=part_name(number), task=row, num_items=row["num_samples"]) for number, row in enumerate(rows)]


def read_planned(store: Store, plan: PartRecord, planned: PlannedPart) -> Records:
    """The planned documents of a part, in order. Raises `StoreError` where the file is missing or damaged."""
    import numpy as np
    import xxhash

    key = plan.file(PLANNED_FILE).key
    start, size_bytes = planned.first_document * PLANNED_BYTES, planned.num_documents * PLANNED_BYTES
    try:
        data = store.read_range(key, start, size_bytes)
    except (CutShortError, FileNotFoundError) as error:
        raise damaged(key, f"cannot be read ({error})") from error
    if xxhash.xxh3_64_intdigest(data) != planned.digest:
        raise damaged(key, f"is damaged between the bytes {start} and {start + size_bytes}")
    return np.frombuffer(data, PLANNED_FIELDS)
