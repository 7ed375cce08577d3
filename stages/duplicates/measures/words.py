"""Words of texts, and digests of runs of them (n-grams)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import xxhash

from stages.mixing.held_out import plain_text

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
