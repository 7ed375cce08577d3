"""Finds hashes that differ in a few of their 64 bits, among any number: complete by the pigeonhole principle.

With a largest distance of r bits, the 64 bits are cut into r + 2 bands. Hashes that differ in at most r bits differ in
at most r bands, so that two bands are equal: there are i < j such that they are found under the bits of bands i and j.
With r = 3 there are 5 bands of 12 or 13 bits and 10 such pairs of bands; of 390 million hashes that are spread evenly,
8 have the same 25 or 26 bits.

Real hashes crowd. Under bits that more than `WINDOW` hashes share, the bits outside the two bands are cut into r + 1
pieces, of which one is equal, and so on, three times. Where still more than `WINDOW` hashes share all that, each is
compared with the best `WINDOW` of them, and counted as crowded: the only ones of which a near one may be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from stages.duplicates.measures.hash_bits import mixed, num_bits
from stages.formats.external_sort import order_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.duplicates.measures.hash_bits import Uint64

    Indexes = NDArray[np.intp]

NUM_HASH_BITS: Final = 64
MAX_BITS: Final = 6
"""Largest distance that may be asked for: with 8 bands of 8 bits, 6,000 of 390 million hashes share two of them."""
WINDOW: Final = 256
"""Hashes under one key that are all compared with each other."""
MAX_DEPTH: Final = 3
"""How often the hashes under one key are parted by further bits."""
MIN_PIECE_BITS: Final = 3


def band_masks(max_bits: int) -> list[int]:
    """The bits of each of the bands.

    >>> [f"{mask:016x}" for mask in band_masks(2)]
    ['000000000000ffff', '00000000ffff0000', '0000ffff00000000', 'ffff000000000000']
    """
    return _pieces(list(range(NUM_HASH_BITS)), max_bits + 2)


def _pieces(bits: Sequence[int], num_pieces: int) -> list[int]:
    """Masks of consecutive stretches of `bits`, as equal as may be."""
    edges = [number * len(bits) // num_pieces for number in range(num_pieces + 1)]
    return [sum(1 << bit for bit in bits[start:end]) for start, end in pairwise(edges)]


def bits_of(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [bit for bit in range(NUM_HASH_BITS) if mask >> bit & 1]


@dataclass
class NearestBetter:
    """The best hash that is near to each of n hashes, as far as it has been looked for."""

    hashes: Uint64
    """[n] different hashes."""
    ranks: Uint64
    """[n] their ranks; the smaller is the better."""
    max_bits: int
    """Largest distance of hashes that are near."""
    best: Uint64
    """[n] rank of the best hash that is near, and better than this one; its own rank where none is known."""
    num_compared: int = 0
    """Comparisons of two hashes."""
    num_crowded: int = 0
    """Times that a hash was not compared with all under one key."""

    @classmethod
    def among(cls, hashes: Uint64, ranks: Uint64, max_bits: int) -> NearestBetter:
        """Nothing is looked for yet."""
        return cls(hashes, ranks, max_bits, ranks.copy())

    def search(self, band: int) -> None:
        """Compare hashes that share band `band` and a later one. After all bands but the last, all is found."""
        import numpy as np

        masks, rows = band_masks(self.max_bits), np.arange(len(self.hashes))
        for later in masks[band + 1 :]:
            mask = masks[band] | later
            self._search(rows, self.hashes & np.uint64(mask), ~mask & (1 << NUM_HASH_BITS) - 1, 0)

    def _search(self, rows: Indexes, keys: Uint64, free: int, depth: int) -> None:
        """Compare the hashes of `rows` [m] that have equal `keys` [m]; they may differ in the bits `free`."""
        import numpy as np

        order = np.argsort(keys)
        keys, rows = keys[order], rows[order]
        begins = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
        starts = np.flatnonzero(begins)
        sizes = np.diff(np.append(starts, len(keys)))
        in_group = np.repeat(sizes, sizes)
        several = (in_group > 1) & (in_group <= WINDOW)
        self._compare_all(rows[several], keys[several])
        crowded = in_group > WINDOW
        if not crowded.any():
            return
        rows, keys = rows[crowded], keys[crowded]
        pieces = _pieces(bits_of(free), self.max_bits + 1)
        if depth == MAX_DEPTH or min(map(int.bit_count, pieces)) < MIN_PIECE_BITS:
            self._compare_with_best(rows, keys)
            return
        for piece in pieces:
            # Should two keys become one by chance, more hashes are compared than need be, and none is missed.
            parted = mixed(keys ^ mixed(self.hashes[rows] & np.uint64(piece)))
            self._search(rows, parted, free & ~piece, depth + 1)

    def _compare_all(self, rows: Indexes, keys: Uint64) -> None:
        """Compare all hashes that have one key with each other; `keys` [m] rise.

        Those at one distance of places are compared at once; the distance grows until no key reaches so far.
        """
        import numpy as np

        hashes, ranks, best = self.hashes[rows], self.ranks[rows], self.best[rows]
        one = np.flatnonzero(keys[1:] == keys[:-1])
        shift = 1
        while len(one):
            self.num_compared += len(one)
            near = num_bits(hashes[one] ^ hashes[one + shift]) <= self.max_bits
            here = one[near]
            there = here + shift
            # Within one shift no place occurs twice in `here`, nor in `there`.
            best[there] = np.minimum(best[there], ranks[here])
            best[here] = np.minimum(best[here], ranks[there])
            shift += 1
            one = one[one + shift < len(keys)]
            one = one[keys[one + shift] == keys[one]]
        self.best[rows] = np.minimum(self.best[rows], best)

    def _compare_with_best(self, rows: Indexes, keys: Uint64) -> None:
        """Compare each hash with the best `WINDOW` ones that have its key."""
        import numpy as np

        order = order_of(keys, self.ranks[rows])
        rows, keys = rows[order], keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        sizes = np.diff(np.append(starts, len(keys)))
        places = np.arange(len(keys)) - np.repeat(starts, sizes)
        firsts = np.repeat(starts, sizes)
        self.num_crowded += int((places > WINDOW).sum())
        for place in range(WINDOW):
            later = np.flatnonzero(places > place)
            leaders = rows[firsts[later] + place]
            self.num_compared += len(later)
            near = num_bits(self.hashes[rows[later]] ^ self.hashes[leaders]) <= self.max_bits
            found = rows[later[near]]
            self.best[found] = np.minimum(self.best[found], self.ranks[leaders[near]])
