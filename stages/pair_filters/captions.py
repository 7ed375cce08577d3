"""What is wrong with the caption of a clip or a picture: it says nothing, or the same again and again."""

from __future__ import annotations

import re
from typing import Final

FILE_NAME: Final = re.compile(r"\S+\.(mp4|m4v|mov|mkv|webm|avi|jpe?g|png)", re.IGNORECASE)
"""A caption that is the name of a file, such as `VID_0042.MP4`."""
WORDS_TOGETHER: Final = 3
"""Length of the runs of words by which repetition is measured."""
MIN_RUNS: Final = 8
"""Runs of words that a caption must have for its repetition to be judged."""
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
"""A word; of writing without spaces, a character."""


def says_nothing(caption: str) -> bool:
    """Whether a caption has no letter or digit, or is the name of a file."""
    return not any(char.isalnum() for char in caption) or FILE_NAME.fullmatch(caption) is not None


def repeated_share(caption: str) -> float:
    """The share of the runs of three words that stand in the caption before; 0.0 where there are fewer than 8.

    `thank you. thank you. thank you. thank you. thank you.` has 8 runs of two kinds, so 0.75 of them are repeated.
    """
    words = _WORD.findall(caption.casefold())
    runs = list(zip(*(words[first:] for first in range(WORDS_TOGETHER)), strict=False))
    return 1 - len(set(runs)) / len(runs) if len(runs) >= MIN_RUNS else 0.0
