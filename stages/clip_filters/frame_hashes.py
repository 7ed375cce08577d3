"""The perceptual hash of a frame: 64 bits that stay nearly the same when it is encoded again or made smaller.

It is the sign of the lowest frequencies of the cosine transform against their median ("pHash"), in whole numbers: with
floating point numbers two machines would differ in a bit now and then, and artifacts with them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_FREQUENCIES: Final = 8
"""Frequencies in each direction; 8 x 8 of them make 64 bits."""
SCALE: Final = 4096
"""Cosines are rounded to multiples of one 4096th."""


def frame_hash(grey: NDArray[np.uint8]) -> int:
    """The hash of a frame of n x n levels of grey, as a number below 2**64.

    The first bit, of the mean level, is 0: a frame made brighter keeps its hash.
    """
    import numpy as np

    cosines = _cosines(len(grey))
    frequencies = (cosines @ grey.astype(np.int64) @ cosines.T).ravel()
    above = frequencies > _middle(frequencies[1:])
    above[0] = False
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def _middle(values: NDArray[np.int64]) -> int:
    """The value in the middle of an odd number of them."""
    import numpy as np

    middle = len(values) // 2
    return int(np.partition(values, middle)[middle])


@cache
def _cosines(side_px: int) -> NDArray[np.int64]:
    """The first rows [8, side] of the cosine transform, in whole numbers."""
    import numpy as np

    # Each is further from the middle between two whole numbers than libraries differ in a cosine.
    rows = [
        [round(SCALE * math.cos((2 * place + 1) * frequency * math.pi / (2 * side_px))) for place in range(side_px)]
        for frequency in range(NUM_FREQUENCIES)
    ]
    return np.array(rows, np.int64)
