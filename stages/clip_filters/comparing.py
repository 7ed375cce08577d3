"""Phase `compare`: each part takes some of the keys of all clips, and lists the duplicates among the clips under them.

    near_NN.parquet     duplicates in group NN of the parts of clips: `part` and `row` of a duplicate, and `of_part`,
                        `of_row` and `of_id` of the earlier clip that it is nearly the same as; by place

A part of the phase reads the hashes of all clips, some 60 bytes each, and keeps those that fall to it on local disk, by
ranges of keys, so that memory does not grow with the number of clips. The number of its parts is bounded: at most 64
times the hashes are read, which is little beside the frames that phase `measure` reads once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from stages.artifacts.phase_files import read_entry, read_file
from stages.artifacts.records import PartRecord
from stages.clip_filters.measured import COMPARED, MEASURED_FILE, ROW_BITS, compared_clips
from stages.clip_filters.near_duplicates import (
    FOUND_FIELDS,
    KEYED_FIELDS,
    KEYS_PER_CLIP,
    duplicates_among,
    earliest,
    keyed,
)
from stages.contract import Part, PartDraft, PartFacts, PartTask
from stages.formats.external_sort import Buckets
from stages.formats.sample_table import read_table, sample_id_type, write_table
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.formats.external_sort import Records

MAX_RANGES: Final = 64
"""Ranges of keys, and so parts of phase `compare`, at most."""
CLIPS_PER_RANGE: Final = 200_000
"""Clips for each such part, where there are fewer than `MAX_RANGES`: 3.6 million of them under keys, 290 MB on disk."""
NUM_GROUPS: Final = 64
"""Groups of parts of clips, of which each has files of its own: the work on a part reads those of its group."""
NUM_SORTED: Final = 2**19
"""Clips under keys that are sorted in memory at a time, on average: 42 MB, and some copies of it."""


class MeasuredClipFacts(PartFacts):
    """What a part of phase `measure` records."""

    num_compared: int
    """Clips of the part that nothing is against by itself, and that are compared with others."""


class KeyRange(PartTask):
    """The task of a part of phase `compare`: the keys whose remainder by `num_ranges` is `number`."""

    number: int
    num_ranges: int


class ComparedFacts(PartFacts):
    """What such a part records."""

    num_compared: int
    """Clips under keys of its range, a clip under each of its keys."""
    num_crowded: int
    """Clips under keys that could not be compared with every other clip under their key, because there are too many."""


def key_ranges(num_clips: int) -> list[Part]:
    """The parts of phase `compare` for so many clips."""
    num_ranges = min(MAX_RANGES, max(1, -(-num_clips // CLIPS_PER_RANGE)))
    tasks = [KeyRange(number=number, num_ranges=num_ranges) for number in range(num_ranges)]
    return [Part(name=f"keys_{task.number:02d}", task=task.dump()) for task in tasks]


def compare_clips(part: Part, draft: PartDraft, *, store: Store, measured: Sequence[PartRecord], max_bits: int) -> None:
    """List the duplicates among the clips of one range of keys. `measured` are all records of phase `measure`."""
    import numpy as np

    task = KeyRange.of(part)
    # Buckets take some 2 million records each; these are large, so that buckets of a quarter are asked for.
    num_records = (
        sum(MeasuredClipFacts.of(record).num_compared for record in measured) * KEYS_PER_CLIP // task.num_ranges
    )
    folder = draft.scratch / "keys"
    found, num_compared, num_crowded = np.empty(0, FOUND_FIELDS), 0, 0
    with Buckets(folder, KEYED_FIELDS, num_keys=2**32, num_records=4 * num_records) as buckets:
        for number, record in enumerate(measured):
            clips = compared_clips(read_table(read_file(store, record, MEASURED_FILE), COMPARED), number)
            for records in keyed(clips, task.number, task.num_ranges):
                buckets.add(records, records["key"] >> np.uint64(32))
                num_compared += len(records)
            draft.progress(num_compared)
        for bucket in buckets.drain():
            duplicates, crowded = duplicates_among(bucket, max_bits)
            found = earliest(np.concatenate([found, duplicates]))
            num_crowded += crowded
    for group, table in _by_group(found, len(measured)):
        write_table(table, draft.path(_group_file(group)))
    draft.fact(**ComparedFacts(num_compared=num_compared, num_crowded=num_crowded).dump())


def duplicates_of_part(
    store: Store, compared: Sequence[PartRecord], part_number: int, num_parts: int
) -> dict[int, bytes]:
    """Row of each duplicate in one part to the sample id of the earliest clip that it was found nearly the same as."""
    import pyarrow.compute as pc

    name = _group_file(_group(part_number, num_parts))
    earliest_of: dict[int, tuple[int, int, bytes]] = {}
    for record in compared:
        for entry in record.files:
            if entry.name == name:
                table = read_table(read_entry(store, entry))
                for row in table.filter(pc.equal(table["part"], part_number)).to_pylist():
                    other = row["of_part"], row["of_row"], row["of_id"]
                    earliest_of[row["row"]] = min(other, earliest_of.get(row["row"], other))
    return {row: sample_id for row, (_, _, sample_id) in earliest_of.items()}


def _group(part_number: int, num_parts: int) -> int:
    return part_number * min(NUM_GROUPS, num_parts) // num_parts


def _group_file(group: int) -> str:
    return f"near_{group:02d}.parquet"


def _by_group(found: Records, num_parts: int) -> Iterator[tuple[int, pa.Table]]:
    import numpy as np
    import pyarrow as pa

    parts = (found["place"] >> np.uint64(ROW_BITS)).astype(np.int64)
    groups = parts * min(NUM_GROUPS, num_parts) // num_parts
    mask = np.uint64(2**ROW_BITS - 1)
    for group in np.unique(groups).tolist():
        here = found[groups == group]
        ids = [sample_id.tobytes() for sample_id in here["of_id"]]
        columns = {
            "part": pa.array(parts[groups == group], pa.int32()),
            "row": pa.array((here["place"] & mask).astype(np.int64), pa.int64()),
            "of_part": pa.array((here["of_place"] >> np.uint64(ROW_BITS)).astype(np.int64), pa.int32()),
            "of_row": pa.array((here["of_place"] & mask).astype(np.int64), pa.int64()),
            "of_id": pa.array(ids, sample_id_type()),
        }
        yield group, pa.table(columns)
