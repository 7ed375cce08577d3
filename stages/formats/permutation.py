"""Keyed permutations: computes the place of any item, and the item of any place, without a table.

Owns every deterministic shuffle of data. A Feistel network over the smallest power of two that holds all items is
walked until it lands on one (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), so the place of item
300 million costs what the first one costs, and any number of workers agree on the whole order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Whole: TypeAlias = NDArray[np.int64]

NUM_ROUNDS = 8
"""Rounds of the Feistel network."""
MAX_ITEMS = 2**48
"""Most items of a permutation: larger than any corpus, and small enough that no 64-bit shift overflows."""


@dataclass(frozen=True)
class Shuffle:
    """One permutation of the numbers 0 to `num_items` - 1. Raises `ValueError` above `MAX_ITEMS`."""

    num_items: int
    """Items that are permuted."""
    key: str
    """Name of the permutation: another key gives another order."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_items <= MAX_ITEMS:
            raise ValueError(f"{self.num_items} items cannot be shuffled; 1 to {MAX_ITEMS} can")

    def places(self, items: Whole) -> Whole:
        """The place of each item: whole numbers [N] below `num_items`."""
        return self._walk(items, forward=True)

    def items(self, places: Whole) -> Whole:
        """The item at each place [N]: the inverse of `places`."""
        return self._walk(places, forward=False)

    def _walk(self, numbers: Whole, *, forward: bool) -> Whole:
        """Apply the network to each number until it is the number of an item; at most about twice on average."""
        import numpy as np

        # With 5 items the network permutes 0..7. An item that it sends to 6 is sent on, say from 6 to 7 and then to 2,
        # until it is below 5. Each step is a permutation, so two items never end at the same place.
        values = np.asarray(numbers).astype(np.uint64)
        outside = np.arange(values.size)
        while outside.size:
            values[outside] = self._network(values[outside], forward=forward)
            outside = outside[values[outside] >= self.num_items]
        return values.astype(np.int64)

    def _network(self, value: NDArray[np.uint64], *, forward: bool) -> NDArray[np.uint64]:
        """Halves of unequal width swap places at each round; the backward rounds undo the forward ones."""
        import numpy as np

        bits = max(2, (self.num_items - 1).bit_length())
        low, high = np.uint64(bits // 2), np.uint64(bits - bits // 2)
        one = np.uint64(1)
        for number in range(NUM_ROUNDS) if forward else reversed(range(NUM_ROUNDS)):
            left_bits, right_bits = (low, high) if number % 2 == 0 else (high, low)
            if forward:
                right = value & ((one << right_bits) - one)
                mixed = _mixed(right, self._round_keys[number]) & ((one << left_bits) - one)
                value = right << left_bits | (value >> right_bits ^ mixed)
            else:
                right = value >> left_bits
                mixed = _mixed(right, self._round_keys[number]) & ((one << left_bits) - one)
                value = (value & ((one << left_bits) - one) ^ mixed) << right_bits | right
        return value

    @cached_property
    def _round_keys(self) -> list[int]:
        digests = (hashlib.sha256(f"{self.key}/{number}".encode()).digest() for number in range(NUM_ROUNDS))
        return [int.from_bytes(digest[:8]) for digest in digests]


def scatter(numbers: NDArray[np.integer[Any]], key: str) -> NDArray[np.uint64]:
    """A pseudo-random 64-bit value for each number [N], the same on every machine: a sort key for small groups."""
    return _mixed(numbers, int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))


def _mixed(numbers: NDArray[np.integer[Any]], key: int) -> NDArray[np.uint64]:
    """A keyed hash of each number: the 64-bit finalizer of MurmurHash3 around the key."""
    import numpy as np

    value = numbers.astype(np.uint64) + np.uint64(key)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))
