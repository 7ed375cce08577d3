"""Which keys a query sees, as one interval: from the start of its document to itself, or to the end of its image.

Owns the intervals of a packed row and the coarse block map made of them. Both ends grow with the query, so a block of
queries sees the interval from its first query's start to its last query's end, and wholly sees what lies between its
last query's start and its first query's end: the map costs (L / block)^2, and nothing of size L x L exists.

L tokens, n = ceil(L / block) blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Blocks(NamedTuple):
    """Blocks of keys for each block of queries."""

    partial: NDArray[np.bool_]
    """[n, n] some but not all pairs are visible."""
    full: NDArray[np.bool_]
    """[n, n] all pairs are visible; a block that reaches beyond the row is never full."""


def visible_intervals(documents: NDArray[Any], spans: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """First visible key [L], and the one behind the last [L], of each query."""
    num_tokens = int(documents[-1])
    first = np.repeat(documents[:-1], np.diff(documents))
    behind = np.arange(1, num_tokens + 1)
    for start, end in spans:
        behind[start:end] = end
    return first, behind


def visible_blocks(first: IntArray, behind: IntArray, block: int) -> Blocks:
    """The blocks that FlexAttention's `create_block_mask` would find in the dense mask of these intervals."""
    num_tokens = len(first)
    heads = np.arange(0, num_tokens, block)
    tails = np.minimum(heads + block, num_tokens) - 1
    begin, end = heads[None, :], heads[None, :] + block
    touched = (first[heads][:, None] < end) & (behind[tails][:, None] > begin)
    full = (first[tails][:, None] <= begin) & (behind[heads][:, None] >= end)
    full &= (heads + block <= num_tokens)[:, None]
    return Blocks(touched & ~full, full)
