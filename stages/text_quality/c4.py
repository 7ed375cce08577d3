"""C4's rules for web text: which lines it takes out, and which documents it drops.

Owns the rules and their limits, from Raffel et al. (2020), "Exploring the Limits of Transfer Learning with a Unified
Text-to-Text Transformer" (arXiv 1910.10683), section 2.2, and the two further ones of the code that made C4: words of
a thousand characters, and notices on cookies and terms of use.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from pydantic import Field

from stages.contract import Recipe
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.split_text import num_sentences

POLICY_PHRASES: Final = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION: Final = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_TERMINAL: Final = (".", "?", "!", '"', "'")
_BLANK_LINES: Final = re.compile(r"\n(?:[^\S\n]*\n){2,}")


class C4Rules(Recipe):
    """Lines that C4 takes out of documents, and documents that it drops (arXiv 1910.10683, section 2.2)."""

    lines_end_in_punctuation: bool = False
    """Whether a line goes that does not end with `.`, `?`, `!` or a quotation mark. C4 did so; FineWeb found that this
    costs a third of the text, and did not."""
    remove_citations: bool = True
    """Whether marks such as `[1]`, `[edit]` and `[citation needed]` go out of lines."""
    min_line_words: int = Field(default=3, ge=0)
    """Fewest words of a line that stays; words are what white space sets apart."""
    max_word_chars: int | None = Field(default=1000, ge=1)
    """Longest word of a line that stays, in characters; None sets no limit."""
    remove_javascript: bool = True
    """Whether a line goes that speaks of JavaScript: a warning that it is off."""
    policy_phrases: tuple[str, ...] = POLICY_PHRASES
    """Words, in lower case, by which a line goes as a notice on cookies or terms of use."""
    drop_lorem_ipsum: bool = True
    """Whether a document with `lorem ipsum` is dropped."""
    drop_curly_bracket: bool = True
    """Whether a document with `{` is dropped. Set to false for text about programs."""
    banned_words: tuple[str, ...] = ()
    """Words for which a document is dropped, in any letter case. C4 took a list that it did not write; bring one."""
    min_sentences: int = Field(default=5, ge=0)
    """Fewest sentences in the lines that stay."""


class RemovedLine(StrEnum):
    """Why a line goes: a closed list."""

    LONG_WORD = "long_word"
    """A word of it has more than `max_word_chars` characters."""
    NO_PUNCTUATION = "no_punctuation"
    """It does not end with a mark that ends a sentence."""
    FEW_WORDS = "few_words"
    """It has fewer than `min_line_words` words."""
    JAVASCRIPT = "javascript"
    """It speaks of JavaScript."""
    POLICY = "policy"
    """It has one of `policy_phrases`."""


@dataclass
class LinesLeft:
    """What C4's rules leave of a document."""

    reason: DocumentReason | None = None
    """Why the document is dropped; None where it is not."""
    kept: list[str] = field(default_factory=list)
    """The lines that stay, without white space around them."""
    text: str = ""
    """The text with these lines alone, and with the empty lines between paragraphs; as it was where none went."""
    removed: Counter[RemovedLine] = field(default_factory=Counter)
    """Number of removed lines by reason."""


def apply_c4(text: str, rules: C4Rules) -> LinesLeft:
    """Take lines out of a text, and judge what is left. Empty lines count for nothing, and stay between paragraphs."""
    left, standing, num_counted = LinesLeft(), list[str](), 0
    for written in text.split("\n"):
        if not written.strip():
            standing.append("")
            continue
        has_citations = rules.remove_citations and _CITATION.search(written) is not None
        line = _CITATION.sub("", written).rstrip() if has_citations else written
        plain = line.strip()
        lowered = plain.lower()
        why = _why_removed(plain, lowered, rules)
        if why in (RemovedLine.LONG_WORD, RemovedLine.NO_PUNCTUATION, RemovedLine.FEW_WORDS):
            left.removed[why] += 1
            continue
        left.reason = _why_dropped(lowered, rules)
        if left.reason is not None:
            return left
        if why is not None:
            left.removed[why] += 1
            continue
        num_counted += num_sentences(plain)
        left.kept.append(plain)
        standing.append(line)
    if num_counted < rules.min_sentences:
        left.reason = DocumentReason.TOO_FEW_SENTENCES
    elif not left.kept:
        left.reason = DocumentReason.NOTHING_LEFT
    left.text = _BLANK_LINES.sub("\n\n", "\n".join(standing)).strip() if left.removed else "\n".join(standing)
    return left


def _why_removed(line: str, lowered: str, rules: C4Rules) -> RemovedLine | None:
    """The first reason for which a line goes; `lowered` is the line in lower case."""
    words = line.split()
    if rules.max_word_chars is not None and any(len(word) > rules.max_word_chars for word in words):
        return RemovedLine.LONG_WORD
    if rules.lines_end_in_punctuation and (not line.endswith(_TERMINAL) or line.endswith("...")):
        return RemovedLine.NO_PUNCTUATION
    if len(words) < rules.min_line_words:
        return RemovedLine.FEW_WORDS
    if rules.remove_javascript and "javascript" in lowered:
        return RemovedLine.JAVASCRIPT
    return RemovedLine.POLICY if any(phrase in lowered for phrase in rules.policy_phrases) else None


def _why_dropped(lowered: str, rules: C4Rules) -> DocumentReason | None:
    """Why a document with this line is dropped. Lines that went for their shape are not asked."""
    if rules.drop_lorem_ipsum and "lorem ipsum" in lowered:
        return DocumentReason.LOREM_IPSUM
    if rules.drop_curly_bracket and "{" in lowered:
        return DocumentReason.CURLY_BRACKET
    if rules.banned_words and _banned(rules.banned_words).search(lowered):
        return DocumentReason.BANNED_WORD
    return None


@lru_cache(maxsize=4)
def _banned(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(word.lower()) for word in words)})(?!\w)")
