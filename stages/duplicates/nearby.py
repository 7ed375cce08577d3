"""Phase `near`: hashes of pictures that are near to each other, for one slice of the bits of one band.

    found.rows      the duplicates among them (`FOUND_FIELDS`), by slices of the groups of rows

Memory: some four million different hashes, 134 MB, and their sorted copies: 400 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, PartFacts, PartTask
from stages.duplicates.criteria import FOUND_FIELDS, KEY_FIELDS, REASONS, DuplicateReason
from stages.duplicates.joining import FOUND_FILE, band_file, write_found
from stages.duplicates.measures.near_hashes import NearestBetter
from stages.duplicates.ranks import are_judged, rows_of
from stages.duplicates.slices import num_slices, read_slices
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.formats.external_sort import Records


class NearTask(PartTask):
    """The task of a part of phase `near`."""

    band: int
    """Band of bits in which its hashes agree."""
    number: int
    """Its slice of the values of the band."""


class NearFacts(PartFacts):
    """What such a part records."""

    num_hashes: int
    """Different hashes of the slice."""
    num_found: int
    """Duplicates among the pairs that they stand for."""
    num_compared: int
    """Comparisons of two hashes."""
    num_crowded: int
    """Times that a hash was not compared with all that share bits with it, because there are too many."""


def near_parts(max_bits: int, num_rows: int) -> list[Part]:
    """The parts of phase `near`, for so many pairs of all sources."""
    numbers = range(num_slices(num_rows))
    tasks = [NearTask(band=band, number=number) for band in range(max_bits + 1) for number in numbers]
    return [Part(name=f"bits_{task.band}_{task.number:05d}", task=task.dump()) for task in tasks]


def find_near(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    joined: Sequence[PartRecord],
    num_rows: int,
    first_rows: Sequence[int],
    max_bits: int,
) -> None:
    """Find the near duplicates under one slice of a band. `joined` are the records of phase `join` with hashes."""
    task = NearTask.of(part)
    entries = [record.file(band_file(task.band)) for record in joined]
    hashes = read_slices(store, entries, task.number, of=num_slices(num_rows), fields=KEY_FIELDS)
    search = near_duplicates_of(hashes, task.band, max_bits)
    found = found_by(search, hashes)
    write_found(draft.path(FOUND_FILE), found, first_rows)
    facts = NearFacts(
        num_hashes=len(hashes),
        num_found=len(found),
        num_compared=search.num_compared,
        num_crowded=search.num_crowded,
    )
    draft.fact(**facts.dump())


def near_duplicates_of(hashes: Records, band: int, max_bits: int) -> NearestBetter:
    """Look for near ones among different hashes (`KEY_FIELDS`) that agree in a band and another."""
    import numpy as np

    search = NearestBetter.among(np.ascontiguousarray(hashes["key"]), np.ascontiguousarray(hashes["rank"]), max_bits)
    search.search(band)
    return search


def found_by(search: NearestBetter, hashes: Records) -> Records:
    """The duplicates that a search among `hashes` found, each with the best pair that is near."""
    import numpy as np

    is_found = (search.best < search.ranks) & are_judged(search.ranks)
    found = np.empty(int(is_found.sum()), FOUND_FIELDS)
    order = np.argsort(search.ranks)
    better = hashes[order[np.searchsorted(search.ranks[order], search.best[is_found])]]
    found["row"] = rows_of(search.ranks[is_found])
    found["reason"] = REASONS.index(DuplicateReason.NEAR_DUPLICATE_PICTURE)
    found["of_rank"], found["of_id"] = better["rank"], better["sample_id"]
    return found
