"""Finds the rows of a table of any length that repeat earlier ones, by buckets of their ids.

    ids.bin       int64 offsets of `NUM_SLOTS` slots and the end; then records of 20 bytes (id, row in this part), by
                  slot, and by row within a slot. A slot is all ids with the same `SLOT_BITS` leading bits
    repeats.bin   records of 12 bytes (row in the whole table, ordinal), by row: rows whose id stands in an earlier row

Three phases: parts that read rows write `ids.bin`; each part of phase `repeats` takes some slots of all of them; each
part of phase `ordinals` takes some rows of all of those, so that the work on a part reads one short range. Memory: the
records of a bucket, some 2 million, or all rows that have one and the same id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.phase_files import read_stretch
from stages.contract import Part, PartDraft, PartFacts, PartRecord, PartTask, StageContext
from stages.formats.external_sort import RECORDS_PER_BUCKET, Buckets, order_of, raw
from stages.formats.packed_rows.sample_index import halves
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records

IDS_FILE = "ids.bin"
"""The ids of the rows of one part, by slot."""
REPEATS_FILE = "repeats.bin"
"""Rows that repeat an earlier one, with their ordinals."""
REPEATS_PHASE = "repeats"
"""The phase that finds repeated rows, a part for each bucket of ids."""
ORDINALS_PHASE = "ordinals"
"""The phase that brings repeated rows into the order of the table, a part for each range of rows."""
SLOT_BITS = 10
"""Leading bits of an id that choose its slot."""
NUM_SLOTS = 2**SLOT_BITS
ROWS_PER_RANGE = 4_000_000
"""Rows of the table in one part of phase `ordinals`, at least."""
ID_FIELDS = [("id", f"V{SAMPLE_ID_BYTES}"), ("row", "<u4")]
"""Fields of a record of `ids.bin`, as numpy names types."""
REPEAT_FIELDS = [("row", "<i8"), ("ordinal", "<u4")]
"""Fields of a record of `repeats.bin`."""
REPEAT_BYTES = 12
_ID_BYTES = SAMPLE_ID_BYTES + 4
_HEAD_BYTES = 8 * (NUM_SLOTS + 1)


class IdWriter:
    """Collects the ids of one part's rows on local disk and writes `ids.bin`. Use as a context manager.

    `num_rows` is an estimate, by which memory is bounded; any number gives the same file.
    """

    def __init__(self, folder: Path, num_rows: int) -> None:
        self._buckets = Buckets(folder, ID_FIELDS, num_keys=NUM_SLOTS, num_records=num_rows)
        self._num_rows = 0

    def __enter__(self) -> IdWriter:
        self._buckets.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._buckets.__exit__(*error)

    def add(self, ids: Sequence[bytes]) -> None:
        """Add the ids of the next rows."""
        import numpy as np

        records = np.empty(len(ids), ID_FIELDS)
        records["id"] = np.frombuffer(b"".join(ids), f"V{SAMPLE_ID_BYTES}")
        records["row"] = np.arange(self._num_rows, self._num_rows + len(ids))
        self._num_rows += len(ids)
        self._buckets.add(records, _slots(records["id"]))

    def write(self, path: Path) -> None:
        """Write the file; nothing can be added afterwards."""
        import numpy as np

        counts = np.zeros(NUM_SLOTS, np.int64)
        with path.open("wb") as file:
            file.write(bytes(_HEAD_BYTES))
            for records in self._buckets.drain():
                slots = _slots(records["id"])
                file.write(raw(records[np.argsort(slots, kind="stable")]))
                counts += np.bincount(slots, minlength=NUM_SLOTS)
            file.seek(0)
            file.write(np.concatenate([[0], np.cumsum(counts)]).astype("<i8").tobytes())


@dataclass(frozen=True)
class IdFile:
    """The ids of one part's rows."""

    key: str
    """Key of its `ids.bin`."""
    first_row: int
    """Number of its first row in the whole table."""


class SlotRange(PartTask):
    """The task of a part of phase `repeats`: which slots it takes."""

    first_slot: int
    """First slot."""
    until_slot: int
    """Slot after the last."""


class RowRange(PartTask):
    """The task of a part of phase `ordinals`: which parts of the last phase it serves."""

    number: int
    """Number of the range."""
    part_starts: list[int]
    """First row of each part of the last phase, and the row after the last one's."""


class RepeatFacts(PartFacts):
    """What parts of both phases record."""

    ends: list[int]
    """Number of records up to the end of each range of rows (`repeats`), or of each part (`ordinals`)."""


@dataclass(frozen=True)
class Ordinals:
    """Where the ordinals of one part's repeated rows lie."""

    range_part: str
    """Part of phase `ordinals`."""
    first: int
    """First record in its `repeats.bin`."""
    number: int
    """Number of records."""


def find_repeats(
    ctx: StageContext, files: Sequence[IdFile], part_starts: Sequence[int]
) -> tuple[list[Ordinals | None], dict[str, str]]:
    """For each part of the last phase where its ordinals are, and the keys of the files that hold them.

    `part_starts` holds the first row of each of those parts, and the number of all rows. Runs two phases over parts.
    """
    if len(part_starts) < 2:
        return [], {}
    ranges = _ranges(part_starts)
    starts = [one.part_starts[0] for one in ranges] + [part_starts[-1]]
    work = _FindWork(ctx.store, tuple(files), tuple(starts))
    found = ctx.spread(work, over=_slot_parts(part_starts[-1]), phase=REPEATS_PHASE)
    counted = [_starts(RepeatFacts.of(record).ends) for record in found]
    over = [
        Part(name=f"range_{one.number:05d}", task=one.dump())
        for one in ranges
        if any(ends[one.number] < ends[one.number + 1] for ends in counted)
    ]
    if not over:
        return [None] * (len(part_starts) - 1), {}
    merged = ctx.spread(_MergeWork(ctx.store, _sources(found, counted)), over=over, phase=ORDINALS_PHASE)
    by_range = {record.part: _starts(RepeatFacts.of(record).ends) for record in merged}
    keys = {record.part: record.file(REPEATS_FILE).key for record in merged}
    return list(_ordinals(ranges, by_range)), keys


def read_ordinals(store: Store, key: str, where: Ordinals, first_row: int) -> dict[int, int]:
    """Row in the part (0 is `first_row`) to ordinal (1, 2, ...), of the rows that repeat earlier ones. One read."""
    records = _read(store, key, where.first * REPEAT_BYTES, where.number, REPEAT_FIELDS)
    rows = (records["row"] - first_row).tolist()
    return dict(zip(rows, records["ordinal"].tolist(), strict=True))


def repeats_in(ids: NDArray[np.void], rows: NDArray[np.int64]) -> Records:
    """The records of rows whose id stands in an earlier row, by row: `ids` [N] of 16 bytes, and their `rows` [N].

    Ids x, y, x, x of the rows 0 to 3 give the records (2, 1) and (3, 2).
    """
    import numpy as np

    high, low = halves(ids)
    order = order_of(high, low, rows)
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    places = np.arange(len(order))
    ordinals = places - np.maximum.accumulate(np.where(is_first, places, 0))
    repeats = np.empty(int((~is_first).sum()), REPEAT_FIELDS)
    repeats["row"], repeats["ordinal"] = rows[order][~is_first], ordinals[~is_first]
    return repeats[np.argsort(repeats["row"])]


@dataclass(frozen=True)
class _FindWork:
    """Finds the repeated rows of some slots, into `repeats.bin`."""

    store: Store
    files: tuple[IdFile, ...]
    range_starts: tuple[int, ...]

    def __call__(self, part: Part, draft: PartDraft) -> None:
        import numpy as np

        task = SlotRange.of(part)
        ids, rows = [], []
        for file in self.files:
            head = _read(self.store, file.key, 8 * task.first_slot, task.until_slot - task.first_slot + 1, "<i8")
            start, end = int(head[0]), int(head[-1])
            records = _read(self.store, file.key, _HEAD_BYTES + start * _ID_BYTES, end - start, ID_FIELDS)
            ids.append(records["id"])
            rows.append(records["row"].astype(np.int64) + file.first_row)
        repeats = repeats_in(np.concatenate(ids), np.concatenate(rows))
        draft.path(REPEATS_FILE).write_bytes(repeats.tobytes())
        ends = np.searchsorted(repeats["row"], self.range_starts[1:]).tolist()
        draft.fact(**RepeatFacts(ends=ends).dump())


@dataclass(frozen=True)
class _MergeWork:
    """Merges the repeated rows of one range of rows, into `repeats.bin`."""

    store: Store
    sources: Mapping[str, tuple[int, ...]]
    """Key of each file of phase `repeats` to its number of records before each range, and all."""

    def __call__(self, part: Part, draft: PartDraft) -> None:
        import numpy as np

        task = RowRange.of(part)
        pieces = [
            _read(self.store, key, REPEAT_BYTES * starts[task.number], number, REPEAT_FIELDS)
            for key, starts in self.sources.items()
            if (number := starts[task.number + 1] - starts[task.number])
        ]
        records = np.concatenate(pieces)
        records = records[np.argsort(records["row"])]
        draft.path(REPEATS_FILE).write_bytes(records.tobytes())
        ends = np.searchsorted(records["row"], task.part_starts[1:]).tolist()
        draft.fact(**RepeatFacts(ends=ends).dump())


def _slot_parts(num_rows: int) -> list[Part]:
    """Parts of some `RECORDS_PER_BUCKET` ids each: 4,000,000 rows take 2 parts of 512 slots."""
    num_parts = min(NUM_SLOTS, 2 ** (max(1, -(-num_rows // RECORDS_PER_BUCKET)) - 1).bit_length())
    size = NUM_SLOTS // num_parts
    return [
        Part(
            name=f"bucket_{number:04d}", task=SlotRange(first_slot=number * size, until_slot=(number + 1) * size).dump()
        )
        for number in range(num_parts)
    ]


def _ranges(part_starts: Sequence[int]) -> list[RowRange]:
    """Ranges of consecutive parts of the last phase, each of `ROWS_PER_RANGE` rows or little more."""
    ranges: list[RowRange] = []
    starts = [part_starts[0]]
    for row in part_starts[1:]:
        starts.append(row)
        if row - starts[0] >= ROWS_PER_RANGE or row == part_starts[-1]:
            ranges.append(RowRange(number=len(ranges), part_starts=starts))
            starts = [row]
    return ranges


def _ordinals(ranges: Sequence[RowRange], by_range: Mapping[str, Sequence[int]]) -> Iterator[Ordinals | None]:
    for one in ranges:
        name = f"range_{one.number:05d}"
        starts = by_range.get(name)
        for number in range(len(one.part_starts) - 1):
            first, end = (starts[number], starts[number + 1]) if starts else (0, 0)
            yield Ordinals(name, first, end - first) if end > first else None


def _sources(found: Sequence[PartRecord], counted: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {record.file(REPEATS_FILE).key: starts for record, starts in zip(found, counted, strict=True) if starts[-1]}


def _starts(ends: Sequence[int]) -> tuple[int, ...]:
    return (0, *ends)


def _slots(ids: NDArray[np.void]) -> NDArray[np.int64]:
    import numpy as np

    high, _ = halves(ids)
    return (high >> np.uint64(64 - SLOT_BITS)).astype(np.int64)


def _read(store: Store, key: str, offset: int, number: int, kind: Any) -> NDArray[Any]:
    import numpy as np

    dtype = np.dtype(kind)
    if not number:
        return np.empty(0, dtype)
    return np.frombuffer(read_stretch(store, key, offset, number * dtype.itemsize), dtype)
