"""Scores of pairs and clips that tables bring along: which columns they are, their values, and what is against them.

Tables hold them as numbers, or as text that spells numbers (CSV, TSV).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from stages.origins.json_values import json_values

if TYPE_CHECKING:
    import pyarrow as pa

SCORE_COLUMNS: Final = ("similarity", "punsafe", "pwatermark")
"""Columns by which pairs are filtered: CLIP similarity, and probabilities that a picture is unsafe or watermarked."""


class UnreadableScoreError(ValueError):
    """A score that is no number, such as `UNLIKELY`."""


Score: TypeAlias = float | UnreadableScoreError | None
"""One score: a number, none, or what cannot be read."""


ScoreFault: TypeAlias = Literal["score_unreadable", "mismatched", "unsafe", "watermarked"]
"""What the scores of an item may have against it; the reasons of filters are spelled so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScores:
    """The scores of one pair or clip. A score is None where its table had none."""

    similarity: float | None = None
    """Similarity of picture and text."""
    punsafe: float | None = None
    """Probability that the item is unsafe."""
    pwatermark: float | None = None
    """Probability of a watermark."""
    has_unreadable_score: bool = False
    """Whether one of the scores is there and is no number."""


class ScoreLimits(Protocol):
    """A recipe that limits scores."""

    @property
    def min_similarity(self) -> float:
        """Smallest similarity."""

    @property
    def max_punsafe(self) -> float:
        """Largest probability that the item is unsafe."""

    @property
    def max_pwatermark(self) -> float:
        """Largest probability of a watermark."""


def fault_of_scores(item: ItemScores, limits: ScoreLimits) -> ScoreFault | None:
    """The first thing that the scores of an item have against it; None finds nothing."""
    if item.has_unreadable_score:
        return "score_unreadable"
    if item.similarity is not None and item.similarity < limits.min_similarity:
        return "mismatched"
    if item.punsafe is not None and item.punsafe > limits.max_punsafe:
        return "unsafe"
    if item.pwatermark is not None and item.pwatermark > limits.max_pwatermark:
        return "watermarked"
    return None


def score_fields(scores: Mapping[str, Score]) -> dict[str, Any]:
    """The fields of `ItemScores` that the scores of one item, by column, give."""
    known = {name: score for name, score in scores.items() if not isinstance(score, UnreadableScoreError)}
    return known | {"has_unreadable_score": len(known) < len(scores)}


def rows_of_scores(table: pa.Table) -> list[dict[str, Score]]:
    """The scores of each row of a table, by those of the score columns that it has."""
    columns = {name: read_scores(table, name) for name in SCORE_COLUMNS if name in table.column_names}
    return [{name: column[row] for name, column in columns.items()} for row in range(table.num_rows)]


def read_scores(table: pa.Table, name: str) -> list[Score]:
    """The scores of a column: None where there is none (null, NaN, empty text), and an error where it is no number."""
    number = table.schema.get_field_index(name)
    values, _ = json_values(table.column(number), table.schema.field(number))
    return [_read(value) for value in values]


def not_a_score(table: pa.Table, name: str) -> str | None:
    """Words about a score column of which no value is a number, though some are there; None for any other."""
    scores = read_scores(table, name)
    errors = [score for score in scores if isinstance(score, UnreadableScoreError)]
    return str(errors[0]) if errors and not any(isinstance(score, float) for score in scores) else None


def _read(value: object) -> Score:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UnreadableScoreError(repr(value))
    try:
        score = float(value)
    except ValueError:
        return UnreadableScoreError(repr(value))
    return None if math.isnan(score) else score
