"""Gopher's rules for web text: what its quality filter and its repetition filter drop.

Owns the rules and their limits, from Rae et al. (2021), "Scaling Language Models: Methods, Analysis & Insights from
Training Gopher" (arXiv 2112.11446), appendix A.1.1 and table A1. All of them are for English.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from stages.contract import Recipe
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.repetition import WordRuns, repeated, word_runs
from stages.text_quality.split_text import SplitText

STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Words that an English text is full of, as Gopher lists them."""
_BULLETS: Final = ("\u2022", "-")
_ELLIPSES: Final = ("...", "\u2026")
_FREQUENT: Final = {n: DocumentReason.spelled(f"frequent_{n}_gram") for n in (2, 3, 4)}
_REPEATED: Final = {n: DocumentReason.spelled(f"repeated_{n}_grams") for n in range(5, 11)}


class GopherQuality(Recipe):
    """Limits of Gopher's quality filter (arXiv 2112.11446, A.1.1). A limit of 0 or None asks nothing."""

    min_words: int = Field(default=50, ge=0)
    """Fewest words of a document."""
    max_words: int | None = Field(default=100_000, ge=1)
    """Most words of a document."""
    min_mean_word_chars: float = Field(default=3, ge=0)
    """Smallest mean length of its words, in characters."""
    max_mean_word_chars: float | None = Field(default=10, ge=1)
    """Largest mean length of its words, in characters."""
    max_symbol_share: float | None = Field(default=0.1, ge=0)
    """Most `#`, and most ellipses, for each of its words and marks."""
    max_bullet_lines: float | None = Field(default=0.9, ge=0, le=1)
    """Largest share of its lines that begin with a bullet."""
    max_cut_lines: float | None = Field(default=0.3, ge=0, le=1)
    """Largest share of its lines that end with an ellipsis."""
    min_letter_share: float = Field(default=0.8, ge=0, le=1)
    """Smallest share of its words and marks that have a letter."""
    min_stop_words: int = Field(default=2, ge=0)
    """Fewest different words of `stop_words` in it."""
    stop_words: tuple[str, ...] = STOP_WORDS
    """Words that a text of this language cannot do without, in lower case as they stand in the text."""


class GopherRepetition(Recipe):
    """Limits of Gopher's repetition filter (arXiv 2112.11446, table A1): shares of a document, from 0 to 1."""

    max_repeated_paragraphs: float = Field(default=0.3, ge=0, le=1)
    """Largest share of its paragraphs that stand in it before."""
    max_repeated_paragraph_chars: float = Field(default=0.2, ge=0, le=1)
    """Largest share of its characters in such paragraphs."""
    max_repeated_lines: float = Field(default=0.3, ge=0, le=1)
    """Largest share of its lines that stand in it before."""
    max_repeated_line_chars: float = Field(default=0.2, ge=0, le=1)
    """Largest share of its characters in such lines."""
    max_frequent_2_gram: float = Field(default=0.2, ge=0)
    """Largest share of its characters that its most frequent run of 2 words makes up."""
    max_frequent_3_gram: float = Field(default=0.18, ge=0)
    """Largest share of its characters that its most frequent run of 3 words makes up."""
    max_frequent_4_gram: float = Field(default=0.16, ge=0)
    """Largest share of its characters that its most frequent run of 4 words makes up."""
    max_repeated_5_grams: float = Field(default=0.15, ge=0, le=1)
    """Largest share of its characters in runs of 5 words that stand in it before."""
    max_repeated_6_grams: float = Field(default=0.14, ge=0, le=1)
    """Largest share of its characters in runs of 6 words that stand in it before."""
    max_repeated_7_grams: float = Field(default=0.13, ge=0, le=1)
    """Largest share of its characters in runs of 7 words that stand in it before."""
    max_repeated_8_grams: float = Field(default=0.12, ge=0, le=1)
    """Largest share of its characters in runs of 8 words that stand in it before."""
    max_repeated_9_grams: float = Field(default=0.11, ge=0, le=1)
    """Largest share of its characters in runs of 9 words that stand in it before."""
    max_repeated_10_grams: float = Field(default=0.1, ge=0, le=1)
    """Largest share of its characters in runs of 10 words that stand in it before."""

    def limit_of(self, num_words: int) -> float:
        """The limit for runs of so many words."""
        name = f"max_frequent_{num_words}_gram" if num_words in _FREQUENT else f"max_repeated_{num_words}_grams"
        return float(getattr(self, name))


def reason_of_repetition(split: SplitText, limits: GopherRepetition) -> DocumentReason | None:
    """The first reason of Gopher's repetition filter to drop a text; None finds nothing."""
    return _of_repeated_lines(split, limits) or _of_repeated_words(split, limits)


def _of_repeated_lines(split: SplitText, limits: GopherRepetition) -> DocumentReason | None:
    num_chars = len(split.text)
    number, chars = repeated(split.paragraphs)
    if number > limits.max_repeated_paragraphs * len(split.paragraphs):
        return DocumentReason.REPEATED_PARAGRAPHS
    if chars > limits.max_repeated_paragraph_chars * num_chars:
        return DocumentReason.REPEATED_PARAGRAPH_CHARS
    lines = [line for line in split.lines if line]
    number, chars = repeated(lines)
    if number > limits.max_repeated_lines * len(lines):
        return DocumentReason.REPEATED_LINES
    return DocumentReason.REPEATED_LINE_CHARS if chars > limits.max_repeated_line_chars * num_chars else None


def _of_repeated_words(split: SplitText, limits: GopherRepetition) -> DocumentReason | None:
    for runs in word_runs(split.tokens, max(_REPEATED)):
        if _exceeds(runs, limits.limit_of(runs.num_words) * len(split.text)):
            return (_FREQUENT | _REPEATED)[runs.num_words]
        if runs.are_all_different and runs.num_words >= max(_FREQUENT):
            return None
    return None


def _exceeds(runs: WordRuns, limit_chars: float) -> bool:
    if runs.num_words in _FREQUENT:
        return runs.frequent_chars() > limit_chars
    return runs.most_repeated_chars() > limit_chars and runs.repeated_chars() > limit_chars


def reason_of_quality(split: SplitText, limits: GopherQuality) -> DocumentReason | None:
    """The first reason of Gopher's quality filter to drop a text; None finds nothing."""
    return _of_words(split, limits) or _of_symbols(split, limits) or _of_vocabulary(split, limits)


def _of_words(split: SplitText, limits: GopherQuality) -> DocumentReason | None:
    num_words = len(split.words)
    if num_words < limits.min_words:
        return DocumentReason.TOO_FEW_WORDS
    if limits.max_words is not None and num_words > limits.max_words:
        return DocumentReason.TOO_MANY_WORDS
    mean_chars = sum(map(len, split.words)) / max(1, num_words)
    if mean_chars < limits.min_mean_word_chars:
        return DocumentReason.WORDS_TOO_SHORT
    if limits.max_mean_word_chars is not None and mean_chars > limits.max_mean_word_chars:
        return DocumentReason.WORDS_TOO_LONG
    return None


def _of_symbols(split: SplitText, limits: GopherQuality) -> DocumentReason | None:
    num_tokens, lines = max(1, len(split.tokens)), split.lines
    if limits.max_symbol_share is not None:
        if split.text.count("#") > limits.max_symbol_share * num_tokens:
            return DocumentReason.TOO_MANY_HASHES
        if sum(map(split.text.count, _ELLIPSES)) > limits.max_symbol_share * num_tokens:
            return DocumentReason.TOO_MANY_ELLIPSES
    if limits.max_bullet_lines is not None:
        num_bullets = sum(line.lstrip().startswith(_BULLETS) for line in lines)
        if num_bullets > limits.max_bullet_lines * len(lines):
            return DocumentReason.TOO_MANY_BULLETS
    if limits.max_cut_lines is not None:
        num_cut = sum(line.rstrip().endswith(_ELLIPSES) for line in lines)
        if num_cut > limits.max_cut_lines * len(lines):
            return DocumentReason.TOO_MANY_CUT_LINES
    return None


def _of_vocabulary(split: SplitText, limits: GopherQuality) -> DocumentReason | None:
    num_with_letter = sum(word.isalpha() or any(map(str.isalpha, word)) for word in split.words)
    if num_with_letter < limits.min_letter_share * len(split.tokens):
        return DocumentReason.TOO_FEW_LETTERS
    if len({*limits.stop_words}.intersection(split.words)) < limits.min_stop_words:
        return DocumentReason.TOO_FEW_STOP_WORDS
    return None
