"""Counting objects whose keys carry a number: `claims/0.json`, `claims/1.json`, ...

Such numbers are given out by exclusive creates, one after the other, so they have no gap. Counting then takes a few
look-ups of known keys and no listing, which an object store may answer late.
"""

from __future__ import annotations

from collections.abc import Callable


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
