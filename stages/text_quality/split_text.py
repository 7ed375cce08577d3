"""Splits a text into words, lines, paragraphs and sentences, as the published rules count them.

Owns what a word is. A word is a run of letters and digits; a contraction is two (`do` `n't`), as in the tokenizers of
spaCy, by which FineWeb was counted; numbers keep their separators, and web addresses are one. Chinese, Japanese and
Thai have no spaces, and each character is a word. A mark is a punctuation mark or a symbol, or a run of one. Time and
memory grow linearly with the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_UNSPACED: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts that are written without spaces: Thai and Lao, Japanese, Chinese."""
_TOKEN: Final = re.compile(
    r"https?://\S*[\w/]"  # a web address
    rf"|[{_UNSPACED}]"
    r"|\d+(?:[.,:/]\d+)+"  # 1,000.5
    r"|(?:[A-Za-z]\.){2,}"  # U.S.
    r"|['\u2019](?:[stdmSTDM]|re|ve|ll)\b"  # it 's, don 't
    rf"|[^\W_{_UNSPACED}]+(?:[._@|]+[^\W_{_UNSPACED}]+)*"  # words, file_name.txt
    r"|\.{2,}|-{2,}|~{2,}|_+|[^\w\s]"  # marks
)
_PARAGRAPH_END: Final = re.compile(r"\n{2,}")
_SENTENCE_ENDS: Final = (
    "!.?\u0589\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362\u1367"
    "\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c"
    "\u1c7e\u1c7f\u203c\u203d\u2047-\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877"
    "\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
"""Marks that end a sentence: Unicode's property Sentence_Terminal, of the first plane."""
_SENTENCE_END: Final = re.compile(f"[{_SENTENCE_ENDS}]+[\"'\u2019\u201d)\\]]*(?=\\s|$)|[\u3002\uff01\uff1f]+(?=.)")
_LINE_ENDS_SENTENCE: Final = re.compile(f"[{_SENTENCE_ENDS}]$")


@dataclass(frozen=True)
class SplitText:
    """A text, split when it is first asked for a unit."""

    text: str
    """The text itself, with `\\n` between lines."""

    @cached_property
    def tokens(self) -> list[str]:
        """Words and marks, in order: `It's 3.5 m...` gives `It` `'s` `3.5` `m` `...`."""
        return _TOKEN.findall(self.text)

    @cached_property
    def words(self) -> list[str]:
        """The tokens that have a letter or a digit."""
        return [token for token in self.tokens if token[0].isalnum() or token[-1].isalnum()]

    @cached_property
    def lines(self) -> list[str]:
        """All lines, empty ones too."""
        return self.text.split("\n")

    @cached_property
    def filled_lines(self) -> list[str]:
        """The lines that are more than white space."""
        return [line for line in self.lines if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """The stretches between empty lines."""
        return _PARAGRAPH_END.split(self.text.strip())


def num_sentences(line: str) -> int:
    """The number of sentences of a line: the marks that end one, and a last sentence without such a mark."""
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    has_rest = bool(line[ends[-1] if ends else 0 :].strip())
    return len(ends) + has_rest


def ends_sentence(line: str) -> bool:
    """Whether a line ends with a mark that ends a sentence, in any script."""
    return bool(line) and _LINE_ENDS_SENTENCE.search(line, len(line) - 1) is not None
