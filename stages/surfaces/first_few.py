"""The first of many names in a sentence, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def first_few(names: Sequence[str], at_most: int) -> str:
    """The first names, joined by commas, and the number of those that are not named.

    >>> first_few(["a", "b", "c"], 3)
    'a, b, c'
    >>> first_few(["a", "b", "c", "d", "e"], 3)
    'a, b, c and 2 more'
    """
    named = ", ".join(names[:at_most])
    return f"{named} and {len(names) - at_most:,} more" if len(names) > at_most else named
