"""Bits of arrays of 64-bit numbers: counted, and mixed so that they are spread evenly."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Uint64: TypeAlias = NDArray[np.uint64]


def mixed(keys: Uint64) -> Uint64:
    """Keys spread evenly over 64 bits, different ones staying different (the last steps of splitmix64)."""
    import numpy as np

    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    spread: Uint64 = keys ^ (keys >> np.uint64(31))
    return spread


def num_bits(values: Uint64) -> Uint64:
    """How many bits of each value are set."""
    import numpy as np

    if hasattr(np, "bitwise_count"):  # since numpy 2.0, by an instruction of the processor
        return np.bitwise_count(values).astype(np.uint64)
    one, two, four = map(np.uint64, (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    values = values - ((values >> np.uint64(1)) & one)
    values = (values & two) + ((values >> np.uint64(2)) & two)
    values = (values + (values >> np.uint64(4))) & four
    counts: Uint64 = (values * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return counts
