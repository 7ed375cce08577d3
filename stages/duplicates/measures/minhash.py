"""Keys under which texts with many words in common stand (MinHash with bands).

A text is the set of its runs of some words (`run_words`); a shorter one is one run. How alike two texts are is the
share of their runs that both have (Jaccard). Each of `NUM_BANDS` x r hash functions takes the smallest value over the
runs of a text: two texts have it in common with a probability of just their likeness s. A key is made of the r values
of a band, so that two texts have one key in common with the probability 1 - (1 - s^r)^16:

    r     s =  0.5    0.6    0.7    0.8    0.9    1.0
    14       0.001   0.01   0.10   0.51   0.98      1

`values_per_band` takes the r with which texts that are just as alike as was asked for are found in half of all cases:
those that are more alike nearly always, those that are less hardly ever. It is a likelihood, and not complete as the
search for pictures is. The hash functions are fixed, so that all machines find the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from stages.duplicates.measures.hash_bits import mixed
from stages.duplicates.measures.words import run_batches, run_digests, words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from stages.duplicates.measures.hash_bits import Uint64

NUM_BANDS: Final = 16
"""Keys of a text."""
MAX_VALUES: Final = 64
"""Values in a key, at most: for texts that are as good as the same."""


def values_per_band(likeness: float) -> int:
    """The values in a key with which two texts that are so alike have a key in common in half of all cases.

    >>> [values_per_band(likeness) for likeness in (0.5, 0.7, 0.8, 0.9, 1.0)]
    [5, 9, 14, 30, 64]
    """
    if likeness >= 1:
        return MAX_VALUES
    share = 1 - 0.5 ** (1 / NUM_BANDS)
    return max(1, min(MAX_VALUES, round(math.log(share) / math.log(likeness))))


def runs_of(text: str, run_words: int) -> list[int]:
    """The different runs of words of a text, as digests; none of a text without words."""
    words = words_of(text)
    return list(dict.fromkeys(run_digests(words, min(run_words, len(words))))) if words else []


def band_keys(texts: Sequence[str], likeness: float, *, run_words: int) -> Uint64:
    """The keys [N, 16] of N texts; 0 for all of a text without words. A band's keys are none of another band."""
    import numpy as np

    num_values = values_per_band(likeness)
    keys = np.zeros((len(texts), NUM_BANDS), np.uint64)
    for rows, runs in run_batches(texts, lambda text: runs_of(text, run_words)):
        starts = np.cumsum([0, *(len(ones) for ones in runs[:-1])])
        together = np.concatenate(runs)
        for band in range(NUM_BANDS):
            keys[rows, band] = _band_keys(together, starts, band, num_values)
    return keys


def band_columns(texts: Sequence[str], likeness: float, names: Sequence[str], *, run_words: int) -> dict[str, pa.Array]:
    """`band_keys` as columns of these names, one for each band; null for a text without words."""
    import pyarrow as pa

    keys = band_keys(texts, likeness, run_words=run_words)
    return {name: pa.array(keys[:, band], pa.uint64(), mask=keys[:, band] == 0) for band, name in enumerate(names)}


def _band_keys(runs: Uint64, starts: np.ndarray[tuple[int], np.dtype[np.intp]], band: int, num_values: int) -> Uint64:
    """The key of one band of each text, whose runs begin at `starts`."""
    import numpy as np

    keys = np.full(len(starts), band + 1, np.uint64)
    for factor, addend in _functions()[band * MAX_VALUES : band * MAX_VALUES + num_values]:
        smallest = np.minimum.reduceat(mixed(runs * factor + addend), starts)
        keys = mixed(keys ^ smallest) + np.uint64(1)
    return keys


@cache
def _functions() -> list[tuple[np.uint64, np.uint64]]:
    """Odd factors and addends of the hash functions, each of 64 bits and the same everywhere."""
    import numpy as np

    numbers = mixed(np.arange(1, 2 * NUM_BANDS * MAX_VALUES + 1, dtype=np.uint64)).reshape(-1, 2)
    return [(factor | np.uint64(1), addend) for factor, addend in numbers]
