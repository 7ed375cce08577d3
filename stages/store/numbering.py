"""Counting objects whose keys carry a number: `claims/0.json`, `claims/1.json`, ...

Such numbers are given out by exclusive creates, one after the other, so they have no gap. Counting then takes a few
look-ups of known keys and no listing, which an object store may answer late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stages.store.reader import StoreReader

KEYS_AT_A_TIME: Final = 8
"""The range in which a count lies shrinks by this factor with each round trip."""
FIRST_COUNTS: Final = (1, 8, 64, 512, 4096)
"""Counts that are tried at first, all at once; then each of them times 32,768, and so on."""


def first_missing(exists: Callable[[int], bool]) -> int:
    """The least number, from 0, that does not exist, where those that exist have no gap. Asks about 2 log2(n) times.

    With 5 objects it asks for 0, 1, 3, 7 (missing), then between 3 and 7 for 5 (missing) and 4: the answer is 5.
    """
    above = 1
    while exists(above - 1):
        above *= 2
    below = above // 2
    while below < above - 1:
        middle = (below + above) // 2
        below, above = (middle, above) if exists(middle - 1) else (below, middle)
    return below


def num_keys(store: StoreReader, key_of: Callable[[int], str]) -> int:
    """How many of the keys `key_of(0)`, `key_of(1)`, ... exist, where those that exist have no gap.

    On an object store, several are asked for at a time: 500 are counted with 26 requests in 4 round trips, where
    `first_missing` needs 18, one after the other.
    """
    if store.folder is not None:
        return first_missing(lambda number: store.size_bytes(key_of(number)) is not None)

    def missing(counts: list[int]) -> int | None:
        """The place of the first of these counts that is too high, or None."""
        sizes = store.each(store.size_bytes, [key_of(count - 1) for count in counts])
        return next((place for place, size in enumerate(sizes) if size is None), None)

    below, counts = 0, list(FIRST_COUNTS)
    while (place := missing(counts)) is None:
        below, counts = counts[-1], [count * KEYS_AT_A_TIME ** len(counts) for count in counts]
    below, above = ([below, *counts][place], counts[place])
    while below < above - 1:
        width = -(-(above - below) // KEYS_AT_A_TIME)
        counts = list(range(below + width, above, width))
        place = missing(counts)
        edges = [below, *counts, above]
        below, above = (edges[-2], above) if place is None else (edges[place], edges[place + 1])
    return below
