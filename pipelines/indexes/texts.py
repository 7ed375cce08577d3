"""Words of texts, by the column: digests of every run of three words, and the rows that hold a sentence.

Words are those of `words_of`: letters and digits, without letter case and punctuation; a letter of a script without
spaces is a word. ASCII, which most captions are, is cut into words and digested by array operations on the bytes of a
column, some 2 us a caption; other texts are first spelled by `words_of` itself. A digest of a word is a polynomial in
its bytes, so both ways come to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.duplicates.measures.hash_bits import mixed
from stages.duplicates.measures.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

RUN_WORDS: Final = 3
"""Words of a run: a sentence of fewer is in no index."""
BYTES_AT_ONCE: Final = 2**22
"""Bytes of text that are digested together, some 40 bytes of memory each; a longer text is digested alone."""
FACTOR: Final = 0x9E3779B97F4A7C15
"""Factor of the polynomial, odd."""


@dataclass(frozen=True)
class Words:
    """The words of consecutive texts."""

    digests: Digests
    """A digest of each word."""
    rows: Numbers
    """The text of each word, counted from 0."""

    def runs(self) -> Digests:
        """A digest of each different run of `RUN_WORDS` words within a text."""
        import numpy as np

        last = max(0, len(self.digests) - RUN_WORDS + 1)
        mixture = np.zeros(last, np.uint64)
        for offset in range(RUN_WORDS):
            mixture = mixed(mixture + self.digests[offset : offset + last])
        runs: Digests = np.sort(mixture[self.rows[:last] == self.rows[RUN_WORDS - 1 :]])
        different: Digests = runs[np.diff(runs, prepend=~runs[:1]) != 0]  # `unique` is half as fast
        return different

    def rows_with(self, sentence: Words) -> Numbers:
        """The texts that hold the words of `sentence`, one after the other; rising, each once."""
        import numpy as np

        length = len(sentence.digests)
        last = max(0, len(self.digests) - length + 1)
        is_there = self.rows[:last] == self.rows[length - 1 :]
        for offset, digest in enumerate(sentence.digests):
            is_there &= self.digests[offset : offset + last] == digest
        return np.unique(self.rows[:last][is_there])


def words_of_column(texts: pa.Array | pa.ChunkedArray) -> Iterator[tuple[int, Words]]:
    """The words of a column of texts, in stretches: the first row of each, and the words of those from there on."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if isinstance(column, pa.ChunkedArray):  # of no chunk
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], texts.type)
    column = pc.fill_null(column.cast(pa.large_binary()), b"")
    offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, 8 * column.offset)
    first = 0
    while first < len(column):
        until = int(np.searchsorted(offsets, offsets[first] + BYTES_AT_ONCE, side="right")) - 1
        until = min(len(column), max(until, first + 1))
        yield first, _words(column.slice(first, until - first))
        first = until


def words_in(sentence: str) -> Words:
    """The words of one text."""
    import pyarrow as pa

    return next((words for _, words in words_of_column(pa.array([sentence]))))


def _words(column: pa.LargeBinaryArray) -> Words:
    """The words of a column of bytes without nulls."""
    import numpy as np
    import pyarrow as pa

    offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, 8 * column.offset)
    data = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    if (data >= 128).any():
        spelled = [text if text.isascii() else _spelled(text) for text in column.to_pylist()]
        column = pa.array(spelled, pa.large_binary())
        offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1)
        data = np.frombuffer(column.buffers()[2] or b"", np.uint8)[: offsets[-1]]
    letters = _letters()[data]
    is_word = letters > 0
    begins = is_word.copy()
    begins[1:] &= ~is_word[:-1]
    borders = offsets[1:-1] - offsets[0]
    borders = borders[borders < len(data)]  # of texts that end before the end: a word ends with its text
    begins[borders] = is_word[borders]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return Words(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    edges = np.cumsum(is_word)[starts] - 1  # where each word begins among the letters alone
    letters = letters[is_word]
    lengths = np.diff(edges, append=len(letters))
    powers = _powers(int(lengths.max()))[np.arange(len(letters)) - np.repeat(edges, lengths)]
    digests = mixed(np.add.reduceat(letters.astype(np.uint64) * powers, edges) + lengths.astype(np.uint64))
    rows = np.searchsorted(offsets - offsets[0], starts, side="right") - 1
    return Words(digests, rows.astype(np.int64))


def _spelled(text: bytes) -> bytes:
    """A text as its words with spaces between them, so that all bytes but spaces belong to words."""
    return " ".join(words_of(text.decode("utf-8", "replace"))).encode()


def _letters() -> NDArray[np.uint8]:
    """Each byte as a letter of a word, in lower case; 0 where it ends one."""
    import numpy as np

    table = np.zeros(256, np.uint8)
    for byte in (*b"abcdefghijklmnopqrstuvwxyz0123456789", *range(128, 256)):
        table[byte] = byte
        if chr(byte).isascii():
            table[ord(chr(byte).upper())] = byte
    return table


def _powers(length: int) -> Digests:
    import numpy as np

    powers = np.full(length, FACTOR, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
