"""The quality of a packing: its number of rows beside a lower bound that no packing can beat.

Owns the bound, and the certificate that a plan is committed with. Both need the number of documents of each length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 2**22
"""Lengths handled together, 4,194,304: bounds temporary memory for hundreds of millions of lengths."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The size of a plan, beside a bound that no plan can beat."""

    num_documents: int
    """Documents in all rows."""
    num_tokens: int
    """Tokens in all rows."""
    num_rows: int
    """Rows in the plan."""
    lower_bound_rows: int
    """Rows that any packing of the same lengths needs."""
    gap: float
    """Rows above the lower bound, as a fraction of it."""
    fill: float
    """Tokens in the rows, as a fraction of the tokens that they could hold."""


def certify(counts: list[int], num_rows: int, row_tokens: int) -> Certificate:
    """The certificate of rows of at most `row_tokens` that hold `counts[length]` documents of each length."""
    num_tokens = sum(length * count for length, count in enumerate(counts))
    bound = lower_bound_rows(counts, row_tokens)
    return Certificate(
        num_documents=sum(counts),
        num_tokens=num_tokens,
        num_rows=num_rows,
        lower_bound_rows=bound,
        gap=num_rows / bound - 1 if bound else 0.0,
        fill=num_tokens / (num_rows * row_tokens) if num_rows else 0.0,
    )


def length_counts(lengths: NDArray[np.integer[Any]], row_tokens: int) -> list[int]:
    """The number of documents of each length: `row_tokens` + 1 counts, of lengths 0 to `row_tokens`."""
    import numpy as np

    total = np.zeros(row_tokens + 1, np.int64)
    for start in range(0, len(lengths), CHUNK):
        total += np.bincount(lengths[start : start + CHUNK], minlength=row_tokens + 1)
    counts: list[int] = total.tolist()
    return counts


def lower_bound_rows(counts: list[int], row_tokens: int) -> int:
    """Rows that any packing needs (the bounds L1 and L2 of Martello and Toth, "Knapsack Problems", 1990).

    Documents longer than half a row each need a row of their own. For any length `short`, those longer than
    `row_tokens - short` have no room beside them for a document of at least `short`. All documents between `short` and
    half a row must therefore go into what the other long ones leave, or into further rows.

    Rows of 10 tokens, documents of 7, 7 and 4: by their tokens, 18, they would fit 2 rows. With `short` = 4, the 4 has
    no room beside either 7 and needs a third row.
    """
    import numpy as np

    number = np.asarray(counts, dtype=np.int64)
    num_below = np.concatenate([[0], np.cumsum(number)])
    tokens_below = np.concatenate([[0], np.cumsum(number * np.arange(len(number)))])
    short = np.arange(1, row_tokens // 2 + 1)
    half, lonely = row_tokens // 2 + 1, row_tokens - short + 1
    num_long = num_below[-1] - num_below[half]
    room_beside = (num_below[lonely] - num_below[half]) * row_tokens - (tokens_below[lonely] - tokens_below[half])
    tokens_over = tokens_below[half] - tokens_below[short] - room_beside
    num_further = -(-int(tokens_over.max(initial=0)) // row_tokens)
    return max(-(-int(tokens_below[-1]) // row_tokens), int(num_long) + num_further)
