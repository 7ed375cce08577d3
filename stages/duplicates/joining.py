"""Phase `join`: pairs that have a key in common, for one slice of the keys of one criterion.

    found.rows      the duplicates among them (`FOUND_FIELDS`), by slices of the groups of rows
    near_N.hashes   of perceptual hashes: each different hash with its best pair (`KEY_FIELDS`), by slices of the bits
                    of band N, for the parts of phase `near` that look for near ones

Of pairs that have a hash in common the best stands for all in phase `near`: the others give way to it already, and what
gives way to one of them gives way to the best as well.

Memory: some four million pairs under keys, 134 MB, their order, and the sorted copy: 400 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, PartFacts, PartTask
from stages.duplicates.criteria import FOUND_FIELDS, KEY_FIELDS, NEAR_PICTURE, REASONS, Criterion
from stages.duplicates.listing import keys_file
from stages.duplicates.measures.hash_bits import mixed
from stages.duplicates.measures.near_hashes import band_masks
from stages.duplicates.ranks import are_judged, rows_of
from stages.duplicates.slices import num_slices, read_slices, slice_of, write_slices
from stages.formats.external_sort import order_of
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records

FOUND_FILE = "found.rows"
"""The duplicates that a part of phase `join` or `near` found."""


class JoinTask(PartTask):
    """The task of a part of phase `join`."""

    criterion: str
    """Name of the criterion."""
    number: int
    """Its slice of the keys."""


class JoinedFacts(PartFacts):
    """What such a part records."""

    num_keys: int
    """Pairs under keys of the slice."""
    num_found: int
    """Duplicates among them, of the pairs that are judged."""


def join_parts(criteria: Sequence[Criterion], num_rows: int) -> list[Part]:
    """The parts of phase `join`, for so many pairs of all sources."""
    tasks = [
        JoinTask(criterion=criterion.name, number=number)
        for criterion in criteria
        for number in range(num_slices(num_rows))
    ]
    return [Part(name=f"{task.criterion}_{task.number:05d}", task=task.dump()) for task in tasks]


def join_keys(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    listed: Sequence[PartRecord],
    criteria: Sequence[Criterion],
    num_rows: int,
    first_rows: Sequence[int],
    max_near_bits: int | None,
) -> None:
    """Find the duplicates under one slice of keys. `first_rows` are those of the groups of rows that are judged."""
    task = JoinTask.of(part)
    criterion = next(one for one in criteria if one.name == task.criterion)
    entries = [record.file(keys_file(criterion)) for record in listed]
    records = read_slices(store, entries, task.number, of=num_slices(num_rows), fields=KEY_FIELDS)
    records = records[order_of(records["key"], records["rank"])]
    found, is_best = duplicates_of_keys(records, criterion)
    write_found(draft.path(FOUND_FILE), found, first_rows)
    if criterion.name == NEAR_PICTURE and max_near_bits:
        distinct = records[is_best]
        for band, numbers, number_of_slices in slices_by_bands(distinct["key"], max_near_bits, num_rows):
            write_slices(draft.path(band_file(band)), distinct, numbers, number_of_slices)
    draft.fact(**JoinedFacts(num_keys=len(records), num_found=len(found)).dump())


def duplicates_of_keys(records: Records, criterion: Criterion) -> tuple[Records, NDArray[np.bool_]]:
    """The duplicates among pairs under keys, which are sorted by key and rank; and whether each pair is its key's best.

    A key keeps its best `criterion.num_kept` pairs; the others give way to the best one.
    """
    import numpy as np

    keys = records["key"]
    is_best = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    best = np.maximum.accumulate(np.where(is_best, np.arange(len(keys)), 0))
    is_found = (np.arange(len(keys)) - best >= criterion.num_kept) & are_judged(records["rank"])
    better = records[best[is_found]]
    found = np.empty(len(better), FOUND_FIELDS)
    found["row"] = rows_of(records["rank"][is_found])
    found["reason"] = REASONS.index(criterion.reason)
    found["of_rank"], found["of_id"] = better["rank"], better["sample_id"]
    return found, is_best


def slices_by_bands(
    hashes: NDArray[np.uint64], max_bits: int, num_rows: int
) -> Iterator[tuple[int, NDArray[np.uint64], int]]:
    """Each band but the last, the slice [N] of each hash by the bits of that band, and the number of slices."""
    import numpy as np

    number_of_slices = num_slices(num_rows)
    for band, mask in enumerate(band_masks(max_bits)[:-1]):
        yield band, slice_of(mixed(hashes & np.uint64(mask)), number_of_slices), number_of_slices


def band_file(band: int) -> str:
    """The file of the different hashes by the bits of a band."""
    return f"near_{band}.hashes"


def write_found(path: Path, found: Records, first_rows: Sequence[int]) -> None:
    """Write duplicates by the groups of their rows, in order of the rows."""
    import numpy as np

    found = found[np.argsort(found["row"], kind="stable")]
    groups = np.searchsorted(np.array(first_rows), found["row"], side="right") - 1
    write_slices(path, found, groups, max(1, len(first_rows)))
