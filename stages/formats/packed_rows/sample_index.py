"""The index from samples to rows: finds the rows that hold a sample, among hundreds of millions, by one small read.

    sample_rows.bin   entries of 20 bytes, sorted: a sample id (16 bytes), a row that holds it or a piece of it (uint32)
    sample_rows.fan   int64 prefix offsets: number of the first entry of each slot, and of all entries. A slot is all
                      entries whose sample ids have the same leading bits

Sample ids are digests, so slots are about equally large: at most `ENTRIES_PER_SLOT` on average. A reader keeps the
prefix offsets in memory, 8 bytes for some 1,000 entries, and reads one slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE
from stages.artifacts.records import PartRecord
from stages.formats.external_sort import order_of, raw
from stages.formats.read_ahead import read_ahead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.errors import CutShortError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records

ENTRIES_PER_SLOT = 1024
"""Entries in a slot on average, at most: one look-up reads about 20 KB."""
RANGE_BYTES = 8 * 1024 * 1024
"""Longest range read at once where many samples are looked up, in bytes."""
GAP_BYTES = 512 * 1024
"""Longest gap that is read rather than skipped, in bytes: a store sends as much in the time of another request."""
PREFIX_BITS = 32
"""Leading bits of a sample id by which entries are put into buckets, before each bucket is sorted."""
ENTRY_FIELDS = [("sample_id", f"V{SAMPLE_ID_BYTES}"), ("row", "<u4")]
"""Fields of an entry of `sample_rows.bin`, as numpy names types."""
ENTRY_BYTES = SAMPLE_ID_BYTES + 4
"""Length of an entry: 20."""


def halves(sample_ids: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Sample ids as two numbers each, the leading one first: they compare as the bytes do."""
    import numpy as np

    pairs = np.ascontiguousarray(sample_ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def write_index(buckets: Iterable[Records], num_entries: int, entries_path: Path, offsets_path: Path) -> None:
    """Write the index from buckets of entries, which come by rising prefix of the sample id; equal entries become one.

    `num_entries`, at least the number of entries and equal for two undisturbed runs, decides the number of slots:
    3,000 entries take 4 slots (2 bits), because 2 slots would hold more than `ENTRIES_PER_SLOT` each.
    """
    import numpy as np

    bits = max(0, -(-num_entries // ENTRIES_PER_SLOT) - 1).bit_length()
    counts = np.zeros(2**bits, np.int64)
    with entries_path.open("wb") as file:
        for bucket in buckets:
            high, low = halves(bucket["sample_id"])
            order = order_of(high, low, bucket["row"])
            is_new = np.zeros(len(order), bool)
            is_new[:1] = True
            for key in (high, low, bucket["row"]):
                is_new[1:] |= key[order[1:]] != key[order[:-1]]
            order = order[is_new]
            file.write(raw(bucket.take(order)))
            np.add.at(counts, *np.unique(_slots(high[order], bits), return_counts=True))
    starts = np.zeros(len(counts) + 1, "<i8")
    np.cumsum(counts, out=starts[1:])
    offsets_path.write_bytes(starts.tobytes())


def _slots(high: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """The slot of each id, by its leading 64 bits: their first `bits` bits."""
    import numpy as np

    # Two shifts, by 1 and by 63 - `bits`: with one slot `bits` is 0, and one shift would be by 64, the whole width of
    # the number, which C leaves undefined. With 4 slots (2 bits) the shifts are by 1 and 61, together 62.
    return (high >> np.uint64(1) >> np.uint64(63 - bits)).astype(np.int64)


@dataclass(frozen=True)
class SampleIndex:
    """The index of one artifact, read on demand."""

    artifact: Artifact
    """Artifact whose rows are indexed."""
    record: PartRecord
    """Record of the part that holds the index."""

    def rows_of(self, sample_id: bytes) -> list[int]:
        """The rows that hold a sample, in rising order; [] where none does. One read. Raises `StoreError`."""
        return self.rows_of_many([sample_id]).get(sample_id, [])

    def rows_of_many(self, sample_ids: Iterable[bytes]) -> dict[bytes, list[int]]:
        """The rows of each sample, but for samples in no row. Samples whose entries are near each other share a read.

        Raises `StoreError` where the index is damaged.
        """
        import numpy as np

        wanted = np.array(sorted(set(sample_ids)), f"V{SAMPLE_ID_BYTES}")
        rows_by_sample: dict[bytes, list[int]] = {}
        if not len(wanted):
            return rows_by_sample
        high, _ = halves(wanted)
        slots = _slots(high, self._bits)
        ranges = list(self._ranges(slots))
        stretches = [(int(slots[first]), int(slots[until - 1]) + 1) for first, until in ranges]
        read = read_ahead(self.artifact.store, self._entries, stretches)
        for (first, until), entries in zip(ranges, read, strict=True):
            for sample_id, row in _matches(entries, wanted[first:until]):
                rows_by_sample.setdefault(sample_id, []).append(row)
        return rows_by_sample

    def rows_holding(self, sample_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The rows that hold any of these samples [N], which are sorted: each row once, rising; no object for a sample.

        Raises like `rows_of_many`.
        """
        import numpy as np

        found = [np.zeros(0, np.int64)]
        wanted = sample_ids.view(f"V{SAMPLE_ID_BYTES}")
        if len(wanted):
            slots = _slots(halves(wanted)[0], self._bits)
            ranges = list(self._ranges(slots))
            stretches = [(int(slots[first]), int(slots[until - 1]) + 1) for first, until in ranges]
            read = read_ahead(self.artifact.store, self._entries, stretches)
            for (first, until), entries in zip(ranges, read, strict=True):
                ids = np.ascontiguousarray(entries["sample_id"]).view(f"S{SAMPLE_ID_BYTES}")
                places = np.searchsorted(sample_ids[first:until], ids)
                places[places == until - first] = 0
                found.append(entries["row"][sample_ids[first:until][places] == ids].astype(np.int64))
        return np.unique(np.concatenate(found))

    def _ranges(self, slots: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Ranges (first, until) of `slots`, which rise, that are read at once.

        A range ends where it would be longer than `RANGE_BYTES`, or where the next slot is beyond `GAP_BYTES`.
        """
        starts = self._starts[slots].tolist()
        ends = self._starts[slots + 1].tolist()
        longest, farthest = RANGE_BYTES // ENTRY_BYTES, GAP_BYTES // ENTRY_BYTES
        first = 0
        for number in range(1, len(slots)):
            if ends[number] - starts[first] > longest or starts[number] - ends[number - 1] > farthest:
                yield first, number
                first = number
        yield first, len(slots)

    def _entries(self, slots: tuple[int, int]) -> Records:
        """The entries of the slots (first, until). Raises `StoreError` where they are missing or not of these slots."""
        import numpy as np

        first_slot, until_slot = slots
        entry = self.record.file(SAMPLE_ROWS_FILE)
        start, end = self._starts[[*slots]].tolist()
        try:
            data = self.artifact.store.read_range(entry.key, start * ENTRY_BYTES, (end - start) * ENTRY_BYTES)
        except (CutShortError, FileNotFoundError) as error:
            raise self.artifact.damaged(entry.key, str(error)) from error
        entries = np.frombuffer(data, ENTRY_FIELDS)
        actual = _slots(halves(entries["sample_id"])[0], self._bits)
        if len(actual) and not first_slot <= int(actual[0]) <= int(actual[-1]) < until_slot:
            raise self.artifact.damaged(
                entry.key, f"holds other samples than {SAMPLE_ROWS_OFFSETS_FILE} says at entry {start}"
            )
        return entries

    @property
    def _bits(self) -> int:
        return (len(self._starts) - 1).bit_length() - 1

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        import numpy as np

        return np.frombuffer(self.artifact.read(self.record.file(SAMPLE_ROWS_OFFSETS_FILE)), "<i8")


def _matches(entries: Records, wanted: NDArray[np.void]) -> Iterator[tuple[bytes, int]]:
    """Sample id and row of each entry whose sample is `wanted`. Both are sorted by sample id."""
    import numpy as np

    ids = np.ascontiguousarray(entries["sample_id"]).view(f"S{SAMPLE_ID_BYTES}")
    first, until = (np.searchsorted(ids, wanted.view(ids.dtype), side=side) for side in ("left", "right"))
    for number in np.flatnonzero(first < until).tolist():
        for row in entries["row"][first[number] : until[number]].tolist():
            yield wanted[number].tobytes(), row
