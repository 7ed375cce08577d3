"""Words of texts, and digests of runs of them (n-grams)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import xxhash

from stages.mixing.held_out import plain_text

if TYPE_CHECKING:
    from stages.duplicates.measures.hash_bits import Uint64

TEXTS_AT_ONCE: Final = 256
"""Texts whose runs are held together, at most."""
RUNS_AT_ONCE: Final = 2**19
"""Runs after which a batch takes in no further text: 8 bytes each, and some more for what is computed of them."""

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
"""A letter of a script that writes no spaces, Chinese, Japanese or Korean, or a run of other letters and digits."""


def words_of(text: str) -> list[str]:
    """The words of a text, without letter case and punctuation.

    >>> words_of("A RED cat, 2 dogs; \u732b\u3068")
    ['a', 'red', 'cat', '2', 'dogs', '猫', 'と']
    """
    return _WORD.findall(plain_text(text))


def run_digests(words: Sequence[str], length: int) -> list[int]:
    """A digest below 2**64 of each run of so many words; none where there are fewer words.

    Of `a red cat sits` and runs of 3 words: of `a red cat` and of `red cat sits`.
    """
    runs = range(len(words) - length + 1)
    return [xxhash.xxh3_64_intdigest(" ".join(words[start : start + length]).encode()) for start in runs]


def run_batches(
    texts: Sequence[str], runs_of: Callable[[str], Sequence[int]]
) -> Iterator[tuple[list[int], list[Uint64]]]:
    """The rows of the texts that have runs, and the runs of each, in batches that are bounded by texts and by runs.

    A text is in one batch, however long it is.
    """
    import numpy as np

    rows: list[int] = []
    runs: list[Uint64] = []
    num_runs = 0
    for row, text in enumerate(texts):
        ones = np.array(runs_of(text), np.uint64)
        if not len(ones):
            continue
        rows.append(row)
        runs.append(ones)
        num_runs += len(ones)
        if num_runs >= RUNS_AT_ONCE or len(rows) == TEXTS_AT_ONCE:
            yield rows, runs
            rows, runs, num_runs = [], [], 0
    if rows:
        yield rows, runs
