"""Finds clips that are nearly the same as earlier ones, among any number, by the hashes of three of their frames.

Two clips are near duplicates where their 3 hashes of 64 bits differ in at most `max_bits` of the 192, 8 at most. The
hashes are cut into 12 bands of 16 bits, 4 a frame. Clips that differ in 8 bits have at least 4 equal bands, hence 2 in
one of the 3 frames: each clip is listed under the 3 x 6 pairs of bands of a frame, and clips are compared where a pair
is equal. Nothing within the distance is missed, but for keys that very many different clips share (`WINDOW`).

A clip that an earlier one is near to is a duplicate, whether or not that one is a duplicate itself: of a chain of
copies the first stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Final

from stages.duplicates.measures.hash_bits import mixed, num_bits
from stages.formats.external_sort import order_of
from stages.formats.sample_table import SAMPLE_ID_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.duplicates.measures.hash_bits import Uint64
    from stages.formats.external_sort import Records

NUM_HASHES: Final = 3
BAND_BITS: Final = 16
BANDS_PER_HASH: Final = 4
KEYS_PER_CLIP: Final = NUM_HASHES * 6
"""Keys under which a clip is listed: the pairs of 4 bands, in each of 3 frames."""
MAX_BITS: Final = 8
"""Largest distance at which every pair of clips is found: 12 bands less 8 are 4."""
WINDOW: Final = 250
"""Clips of different hashes under one key with which a clip is compared: those before it in the order of hashes."""
CLIP_FIELDS: Final = [
    ("place", "<u8"),       # part and row of the clip: `part << 32 | row`, which is the order of clips
    ("hash_0", "<u8"),
    ("hash_1", "<u8"),
    ("hash_2", "<u8"),
    ("stretch", "<u8"),     # digest of video, begin and end
    ("caption", "<u8"),     # digest of the caption
    ("sample_id", f"V{SAMPLE_ID_BYTES}"),
]  # fmt: skip
"""Fields of a clip that is compared, as numpy names types."""
KEYED_FIELDS: Final = [("key", "<u8"), *CLIP_FIELDS]
"""Fields of a clip under one of its keys."""
FOUND_FIELDS: Final = [("place", "<u8"), ("of_place", "<u8"), ("of_id", f"V{SAMPLE_ID_BYTES}")]
"""Fields of a duplicate: its place, and the earlier clip that it is nearly the same as."""


def keyed(clips: Records, number: int, num_ranges: int) -> Iterator[Records]:
    """The clips [n] under those of their keys that fall into range `number` of `num_ranges`, in 18 arrays."""
    import numpy as np

    pairs = list(combinations(range(BANDS_PER_HASH), 2))
    for combination in range(KEYS_PER_CLIP):
        which, pair = divmod(combination, len(pairs))
        hashes = clips[f"hash_{which}"]
        first, second = (_band(hashes, band) for band in pairs[pair])
        plain = (np.uint64(combination) << np.uint64(2 * BAND_BITS)) | (first << np.uint64(BAND_BITS)) | second
        keys = mixed(plain)
        own = keys % np.uint64(num_ranges) == np.uint64(number)
        records = np.empty(int(own.sum()), KEYED_FIELDS)
        records["key"] = keys[own]
        for name, _ in CLIP_FIELDS:
            records[name] = clips[name][own]
        yield records


def duplicates_among(records: Records, max_bits: int) -> tuple[Records, int]:
    """The duplicates among clips under keys, each once; and how many stood under a key with more than `WINDOW`.

    All clips with one key must be among `records` [n]. Their order does not matter.
    """
    import numpy as np

    fields = ("hash_0", "hash_1", "hash_2", "place")
    ordered = records[order_of(records["key"], *(records[name] for name in fields))]
    copies, others = _equal_hashes(ordered)
    nearly, num_crowded = _in_windows(others, max_bits)
    return earliest(np.concatenate([copies, nearly])), num_crowded


def earliest(found: Records) -> Records:
    """Each duplicate once, with the earliest of the clips that it was found to be nearly the same as; by place."""
    import numpy as np

    found = found[np.lexsort((found["of_place"], found["place"]))]
    is_first = np.append(True, found["place"][1:] != found["place"][:-1])[: len(found)]
    first: Records = found[is_first]
    return first


def _equal_hashes(ordered: Records) -> tuple[Records, Records]:
    """Duplicates of the first clip with exactly their hashes; and the other clips, which that first one stands for."""
    import numpy as np

    is_first = np.ones(len(ordered), bool)
    equal = [ordered[name][1:] == ordered[name][:-1] for name in ("key", "hash_0", "hash_1", "hash_2")]
    is_first[1:] = ~np.logical_and.reduce(equal)
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(ordered)), 0))
    is_copy = ~is_first & ~_is_other_caption(ordered, ordered[first])
    return _found(ordered[is_copy], ordered[first][is_copy]), ordered[~is_copy]


def _in_windows(clips: Records, max_bits: int) -> tuple[Records, int]:
    """Compare each clip with those that stand up to `WINDOW` before it under its key.

    All pairs at one distance of places are compared at once; the distance grows until no key reaches so far.
    """
    import numpy as np

    columns = {name: np.ascontiguousarray(clips[name]) for name, _ in KEYED_FIELDS[:-1]}
    keys, places, is_found = columns["key"], columns["place"], np.zeros(len(clips), bool)
    found = [np.empty(0, FOUND_FIELDS)]
    before = np.flatnonzero(keys[1:] == keys[:-1])
    for shift in range(1, WINDOW + 1):
        before = before[before + shift < len(clips)]
        before = before[keys[before + shift] == keys[before]]
        if not len(before):
            return np.concatenate(found), 0
        is_in_order = places[before] < places[before + shift]
        earlier = np.where(is_in_order, before, before + shift)
        later = np.where(is_in_order, before + shift, before)
        is_open = ~is_found[later]
        earlier, later = earlier[is_open], later[is_open]
        near = _are_near(columns, earlier, later, max_bits)
        is_found[later[near]] = True
        found.append(earliest(_found(clips[later[near]], clips[earlier[near]])))
    return np.concatenate(found), len(before)


def _are_near(
    columns: Mapping[str, Uint64], earlier: NDArray[np.intp], later: NDArray[np.intp], max_bits: int
) -> NDArray[np.bool_]:
    """Whether two clips differ in at most `max_bits`, for each pair, and are not one stretch under two captions."""
    import numpy as np

    bits = np.zeros(len(earlier), np.uint64)
    for number in range(NUM_HASHES):
        hashes = columns[f"hash_{number}"]
        bits += num_bits(hashes[earlier] ^ hashes[later])
    near = bits <= max_bits
    rows = np.flatnonzero(near)
    is_same = columns["stretch"][earlier[rows]] == columns["stretch"][later[rows]]
    near[rows] &= ~(is_same & (columns["caption"][earlier[rows]] != columns["caption"][later[rows]]))
    return near


def _is_other_caption(one: Records, other: Records) -> NDArray[np.bool_]:
    """Whether two clips are the same stretch of one video under two captions: both stay, as pairs do."""
    different: NDArray[np.bool_] = (one["stretch"] == other["stretch"]) & (one["caption"] != other["caption"])
    return different


def _found(later: Records, earlier: Records) -> Records:
    import numpy as np

    found = np.empty(len(later), FOUND_FIELDS)
    found["place"], found["of_place"], found["of_id"] = later["place"], earlier["place"], earlier["sample_id"]
    return found


def _band(hashes: Uint64, band: int) -> Uint64:
    """16 of the 64 bits of each hash."""
    import numpy as np

    shifted: Uint64 = (hashes >> np.uint64(BAND_BITS * band)) & np.uint64(2**BAND_BITS - 1)
    return shifted
