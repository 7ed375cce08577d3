"""How much of a text is repeated in itself: lines, paragraphs, and runs of words.

Owns the counting. Runs of n words are numbered by those of n - 1 words, exactly and without hashing, in arrays of whole
numbers; nothing is looked at that cannot exceed its limit. A run of n + 1 words that is repeated holds a repeated run
of n words: for most texts that ends the search early. Time is O(n log n) in the words, memory some 200 bytes a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def repeated(pieces: Iterable[str]) -> tuple[int, int]:
    """How many of the pieces stand before, and how many characters these have together."""
    seen: set[str] = set()
    number = num_chars = 0
    for piece in pieces:
        if piece in seen:
            number += 1
            num_chars += len(piece)
        else:
            seen.add(piece)
    return number, num_chars


@dataclass(frozen=True)
class WordRuns:
    """The runs of `num_words` words of a text, at each word where one begins."""

    num_words: int
    """Words in a run."""
    ids: NDArray[np.int64]
    """[R] which run begins at each place, by a number that equal runs share."""
    first: NDArray[np.int64]
    """[D] first place of each different run."""
    word_chars: NDArray[np.int64]
    """[W] length of each word of the text."""

    @property
    def are_all_different(self) -> bool:
        """Whether no run is repeated, and so no longer one either."""
        return len(self.first) == len(self.ids)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """[W + 1] characters before each word."""
        import numpy as np

        return np.concatenate([[0], np.cumsum(self.word_chars)])

    def _chars_at(self, place: int) -> int:
        """Characters of the words of the run at a place."""
        return int(self._ends[place + self.num_words] - self._ends[place])

    def frequent_chars(self) -> int:
        """Length of the most frequent run, its words set apart by spaces, times its number; of several, the first."""
        import numpy as np

        counts = np.bincount(self.ids)
        most = counts.max()
        place = int(self.first[counts == most].min())
        return (self._chars_at(place) + self.num_words - 1) * int(most)

    def most_repeated_chars(self) -> int:
        """An upper bound of `repeated_chars`: the characters of all words in a run that stands in the text before."""
        import numpy as np

        is_repeated = np.ones(len(self.ids), bool)
        is_repeated[self.first] = False
        begins = np.zeros(len(self.word_chars) + 1, np.int64)
        begins[: len(is_repeated)] += is_repeated
        begins[self.num_words : self.num_words + len(is_repeated)] -= is_repeated
        return int(self.word_chars[np.cumsum(begins[:-1]) > 0].sum())

    def repeated_chars(self) -> int:
        """The characters of runs that stand in the text before, none counted twice.

        Read from left to right: a run that was seen is counted, and the search continues behind it; any other is
        remembered, and the search continues at the next word.
        """
        ids = self.ids.tolist()
        seen: set[int] = set()
        place = num_chars = 0
        while place < len(ids):
            if ids[place] in seen:
                num_chars += self._chars_at(place)
                place += self.num_words
            else:
                seen.add(ids[place])
                place += 1
        return num_chars


def word_runs(words: Sequence[str], until: int) -> Iterator[WordRuns]:
    """The runs of 2, 3, ... `until` words, for as long as the text has so many words."""
    import numpy as np

    known: dict[str, int] = {}
    single = np.array([known.setdefault(word, len(known)) for word in words], np.int64)
    chars = np.array([len(word) for word in words], np.int64)
    ids = single
    for num_words in range(2, min(until, len(words)) + 1):
        # Below 2^63 for texts of up to 3e9 words: both factors are at most the number of words.
        joined = ids[:-1] * len(known) + single[num_words - 1 :]
        _, first, ids = np.unique(joined, return_index=True, return_inverse=True)
        yield WordRuns(num_words, ids, first, chars)
