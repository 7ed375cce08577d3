"""Which keys a query sees, as one interval: from the start of its document to itself or to the end of its image.

Owns the intervals of a packed row and the block map built from them. Both ends grow with the query. So some query of
a block sees a key if it lies between the first query's start and the last query's stop, and all see it if it lies
between the last query's start and the first query's stop. The map costs (L / block)^2; nothing of size L x L exists.

L tokens, n = ceil(L / block) blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Blocks(NamedTuple):
    """The block map: which blocks of keys each block of queries sees."""

    partial: NDArray[np.bool_]
    """[n, n] some but not all pairs are visible."""
    full: NDArray[np.bool_]
    """[n, n] all pairs are visible; a block that reaches beyond the row is never full."""


def visible_intervals(documents: NDArray[Any], spans: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """First visible key [L] of each query, and one past its last [L].

    One document of 6 tokens with an image at [2, 5): first 0 0 0 0 0 0, stop 1 2 5 5 5 6.
    """
    num_tokens = int(documents[-1])
    first = np.repeat(documents[:-1], np.diff(documents))
    stop = np.arange(1, num_tokens + 1)
    for start, end in spans:
        stop[start:end] = end
    return first, stop


def visible_blocks(first: IntArray, stop: IntArray, block: int) -> Blocks:
    """The blocks that FlexAttention's `create_block_mask` finds in the dense mask of these intervals."""
    num_tokens = len(first)
    heads = np.arange(0, num_tokens, block)
    tails = np.minimum(heads + block, num_tokens) - 1
    begin, end = heads[None, :], heads[None, :] + block
    touched = (first[heads][:, None] < end) & (stop[tails][:, None] > begin)
    full = (first[tails][:, None] <= begin) & (stop[heads][:, None] >= end)
    full &= (heads + block <= num_tokens)[:, None]
    return Blocks(touched & ~full, full)
