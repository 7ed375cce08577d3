"""FineWeb's own rules for web text, which it asks after Gopher's and C4's.

Owns the rules and their limits, from Penedo et al. (2024), "The FineWeb Datasets: Decanting the Web for the Finest Text
Data at Scale" (arXiv 2406.17557), section 3.5.
"""

from __future__ import annotations

from pydantic import Field

from stages.contract import Recipe
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.repetition import repeated
from stages.text_quality.split_text import SplitText, ends_sentence


class FineWebQuality(Recipe):
    """Limits of FineWeb's own filters (arXiv 2406.17557, section 3.5)."""

    min_full_lines: float = Field(default=0.12, ge=0, le=1)
    """Smallest share of its lines that end with a mark that ends a sentence."""
    max_short_lines: float = Field(default=0.67, ge=0, le=1)
    """Largest share of its lines that are short."""
    short_line_chars: int = Field(default=30, ge=0)
    """Longest line that counts as short, in characters."""
    max_repeated_chars: float = Field(default=0.01, ge=0, le=1)
    """Largest share of its characters in lines that stand in it before. FineWeb's report says 0.1, and its code, which
    made the data, 0.01."""
    max_lines_per_word: float = Field(default=0.3, ge=0)
    """Most line ends for each of its words and marks."""


def reason_of_fineweb(split: SplitText, limits: FineWebQuality) -> DocumentReason | None:
    """The first reason of FineWeb's own filters to drop a text; None finds nothing."""
    lines = split.filled_lines
    if not lines:
        return DocumentReason.NOTHING_LEFT
    if sum(map(ends_sentence, lines)) < limits.min_full_lines * len(lines):
        return DocumentReason.TOO_FEW_FULL_LINES
    if sum(len(line) <= limits.short_line_chars for line in lines) > limits.max_short_lines * len(lines):
        return DocumentReason.TOO_MANY_SHORT_LINES
    num_line_ends = len(split.lines) - 1
    if repeated(lines)[1] > limits.max_repeated_chars * (len(split.text) - num_line_ends):
        return DocumentReason.REPEATED_CHARS
    if num_line_ends > limits.max_lines_per_word * len(split.tokens):
        return DocumentReason.TOO_MANY_LINES
    return None
