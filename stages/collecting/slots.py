"""Files by slots of names, so that what concerns one name comes together without a list of all names.

A slot is all names whose digests begin with the same six bits. A part writes one table for each slot that it has names
of; a later part reads the tables of one or more slots from all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import xxhash

from stages.artifacts.phase_files import read_entry
from stages.artifacts.records import PartRecord
from stages.contract import PartDraft
from stages.formats.sample_table import read_table, write_table
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

NUM_SLOTS: Final = 64
"""Slots, and so the most parts that bring names together."""
ROWS_PER_RANGE: Final = 500_000
"""Names that one such part takes, where there are slots enough: about 300 MB of memory."""


def slot_of(name: str) -> int:
    """The slot of a name."""
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) >> 58


def slot_ranges(num_rows: int) -> list[list[int]]:
    """The slots in ranges of about `ROWS_PER_RANGE` of `num_rows` names: 1, 2, 4, ... or 64 ranges of equal size."""
    num_ranges = 1
    while num_ranges < NUM_SLOTS and num_rows > num_ranges * ROWS_PER_RANGE:
        num_ranges *= 2
    size = NUM_SLOTS // num_ranges
    return [list(range(first, first + size)) for first in range(0, NUM_SLOTS, size)]


def write_slots(table: pa.Table, draft: PartDraft, what: str) -> None:
    """Write the rows of a table with a column `name` as `WHAT_00.parquet`, `WHAT_01.parquet`, ... by their slots."""
    import pyarrow as pa

    rows: list[list[int]] = [[] for _ in range(NUM_SLOTS)]
    for number, name in enumerate(table["name"].to_pylist()):
        rows[slot_of(name)].append(number)
    for slot, numbers in enumerate(rows):
        if numbers:
            write_table(table.take(pa.array(numbers)), draft.path(f"{what}_{slot:02d}.parquet"))


def read_slots(store: Store, records: Iterable[PartRecord], slots: Sequence[int], what: str) -> Iterator[pa.Table]:
    """The tables that the parts of `records` wrote for these slots, part after part."""
    wanted = {f"{what}_{slot:02d}.parquet" for slot in slots}
    for record in records:
        for entry in record.files:
            if entry.name in wanted:
                yield read_table(read_entry(store, entry))
