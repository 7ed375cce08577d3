"""The order of pairs, by which one of two duplicates wins, as one number of 64 bits for each pair.

The smaller rank wins. A rank holds, from the leading bit on:

    1 bit     0 for a pair of an earlier source, 1 for one that is judged: an earlier one always wins
    31 bits   the picture's number of pixels, inverted: the larger picture wins
    32 bits   the pair's row, counted through all parts of all sources: else the first wins

So no two pairs have one rank, and a rank says which row it is of. Rows are numbered by the manifests that are read,
never by who works on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROW_BITS: Final = 32
MAX_ROWS: Final = 2**ROW_BITS
"""Pairs of all sources that can be numbered: 4.29 billion."""
MAX_PIXELS_PX: Final = 2**31 - 1
"""Larger pictures, of more than two billion pixels, count as equally large."""


def ranks_of(num_pixels: NDArray[np.int64], first_row: int, *, is_earlier: bool) -> NDArray[np.uint64]:
    """The ranks [N] of consecutive rows from `first_row` on, with pictures of so many pixels [N]."""
    import numpy as np

    smaller = MAX_PIXELS_PX - np.clip(num_pixels, 0, MAX_PIXELS_PX)
    rows = np.arange(first_row, first_row + len(num_pixels), dtype=np.uint64)
    of_source = np.uint64(0 if is_earlier else 1 << 63)
    ranks: NDArray[np.uint64] = of_source | (smaller.astype(np.uint64) << np.uint64(ROW_BITS)) | rows
    return ranks


def rows_of(ranks: NDArray[Any]) -> NDArray[np.uint32]:
    """The rows that ranks are of."""
    import numpy as np

    rows: NDArray[np.uint32] = (ranks & np.uint64(MAX_ROWS - 1)).astype(np.uint32)
    return rows


def are_judged(ranks: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether ranks are of pairs that are judged, and not of earlier sources."""
    import numpy as np

    judged: NDArray[np.bool_] = ranks >= np.uint64(1 << 63)
    return judged
