"""Scores of pairs and clips that tables bring along: which columns hold them, their limits, what is against an item.

A score is a number, or text that spells one (CSV, TSV); LAION-400M's column `NSFW` holds one of three tags. A column
is named in the recipe or guessed from the spellings that LAION, COYO and DataComp use (`columns.py`); of several that
are there, the first spelling counts. What is there and is no score (NaN, infinity, other text) fails its item, so that
no filter is passed by what it cannot read.

Each rule counts the items that it was applied to, those without a score, and those of tables without the column. A
limit that was set finds the column, or the stage ends before it begins; one that was left at its default may not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from pydantic import Field, field_validator

from stages.artifacts.records import PartRecord
from stages.contract import PartFacts, Recipe, StageError
from stages.formats.judged.kept_tables import KeptTables
from stages.origins.columns import NO_COLUMN, listed_names, spelled_column

if TYPE_CHECKING:
    import pyarrow as pa

ScoreName: TypeAlias = Literal["similarity", "punsafe", "pwatermark", "nsfw_tag"]
NsfwTag: TypeAlias = Literal["UNLIKELY", "UNSURE", "NSFW"]
SCORE_NAMES: Final[tuple[ScoreName, ...]] = get_args(ScoreName)
NSFW_TAGS: Final[tuple[NsfwTag, ...]] = get_args(NsfwTag)
"""Tags of LAION-400M's column `NSFW`, the worst one last."""
RULES: Final[Mapping[ScoreName, str]] = {
    "similarity": "min_similarity",
    "punsafe": "max_punsafe",
    "pwatermark": "max_pwatermark",
    "nsfw_tag": "worst_nsfw_tag",
}
"""Score to the field of `ScoreFields` that limits it, which is also the name of the rule in records."""


class UnreadableScoreError(ValueError):
    """A score that is no number, such as `LIKELY` or NaN."""


Score: TypeAlias = float | UnreadableScoreError | None
"""One score: a number, none, or what cannot be read. A tag is its place in `NSFW_TAGS`."""


ScoreFault: TypeAlias = Literal["score_unreadable", "mismatched", "unsafe", "watermarked"]
"""What the scores of an item may have against it; the reasons of filters are spelled so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLimits:
    """The limits that scores must meet."""

    similarity: float = 0.2
    """Smallest similarity."""
    punsafe: float = 0.5
    """Largest probability that the item is unsafe."""
    pwatermark: float = 0.8
    """Largest probability of a watermark."""
    nsfw_tag: float = NSFW_TAGS.index("UNSURE")
    """Place of the worst tag in `NSFW_TAGS`."""


class ScoreFields(Recipe):
    """Limits on the scores that a table brings along, and which of its columns hold them."""

    score_columns: dict[str, str] = Field(default_factory=dict)
    """Name of a score (`similarity`, `punsafe`, `pwatermark`, `nsfw_tag`) to its column, such as
    {"pwatermark": "watermark_score"}. Those that are left out are guessed from the spellings of LAION, COYO and
    DataComp; "" says that no column is read for that score."""
    min_similarity: float | None = None
    """Smallest similarity of picture and text by CLIP. A number that is set needs a column; left out, it is 0.2 where
    the table has one."""
    max_punsafe: float | None = None
    """Largest probability that the item is unsafe. A number that is set needs a column; left out, it is 0.5 where the
    table has one."""
    max_pwatermark: float | None = None
    """Largest probability of a watermark. A number that is set needs a column; left out, it is 0.8 where the table has
    one."""
    worst_nsfw_tag: NsfwTag | None = None
    """Worst tag of LAION-400M's column `NSFW` that is kept. One that is set needs a column; left out, it is `UNSURE`
    where the table has one."""

    @field_validator("score_columns")
    @classmethod
    def _check_score_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(columns.keys() - set(SCORE_NAMES)):
            raise ValueError(f"there is no score {unknown[0]!r}; scores are {listed_names(SCORE_NAMES)}")
        return columns

    @property
    def score_limits(self) -> ScoreLimits:
        """All limits, those at their default among them."""
        given: dict[str, float] = {name: getattr(self, rule) for name, rule in RULES.items() if name != "nsfw_tag"}
        if self.worst_nsfw_tag is not None:
            given["nsfw_tag"] = NSFW_TAGS.index(self.worst_nsfw_tag)
        return ScoreLimits(**{name: limit for name, limit in given.items() if limit is not None})


class RuleFacts(PartFacts):
    """What a part of a filter records of its rules."""

    rule_counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Rule to the number of items by how it was applied to them, as `count_scores` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScores:
    """The scores of one pair or clip. A score is None where its table had none."""

    similarity: float | None = None
    """Similarity of picture and text."""
    punsafe: float | None = None
    """Probability that the item is unsafe."""
    pwatermark: float | None = None
    """Probability of a watermark."""
    nsfw_tag: float | None = None
    """Place of its tag in `NSFW_TAGS`."""
    has_unreadable_score: bool = False
    """Whether one of the scores is there and is no number."""


def fault_of_scores(item: ItemScores, limits: ScoreLimits) -> ScoreFault | None:
    """The first thing that the scores of an item have against it; None finds nothing."""
    if item.has_unreadable_score:
        return "score_unreadable"
    if item.similarity is not None and item.similarity < limits.similarity:
        return "mismatched"
    if item.punsafe is not None and item.punsafe > limits.punsafe:
        return "unsafe"
    if item.nsfw_tag is not None and item.nsfw_tag > limits.nsfw_tag:
        return "unsafe"
    if item.pwatermark is not None and item.pwatermark > limits.pwatermark:
        return "watermarked"
    return None


def score_fields(scores: Mapping[ScoreName, Score]) -> dict[str, Any]:
    """The fields of `ItemScores` that the scores of one item, by name, give."""
    known = {name: score for name, score in scores.items() if not isinstance(score, UnreadableScoreError)}
    return known | {"has_unreadable_score": len(known) < len(scores)}


def score_columns(found: Sequence[str], fields: ScoreFields) -> dict[ScoreName, str]:
    """Score to the column of a table with the columns `found` that holds it, of those scores that have one."""
    columns: dict[ScoreName, str] = {}
    for name in SCORE_NAMES:
        theirs = fields.score_columns.get(name)
        column = spelled_column(name, found) if theirs is None else theirs
        if column is not None and column in found:
            columns[name] = column
    return columns


def check_score_columns(found: Sequence[str], fields: ScoreFields, where: str) -> None:
    """Raise `StageError` where the recipe names a column that is not there, or sets a limit on a score without one."""
    columns = score_columns(found, fields)
    for name, rule in RULES.items():
        theirs, limit = fields.score_columns.get(name), getattr(fields, rule)
        if name in columns or (theirs in (None, NO_COLUMN) and limit is None):
            continue
        if theirs in (None, NO_COLUMN):
            asked = f"{rule}={limit!r} is set, and {where} has no column of {name!r} to hold against it"
            remedy = f"name it in the recipe, score_columns={{{name!r}: 'COLUMN'}}, or leave {rule} out"
        else:
            asked = f"score_columns names {theirs!r} for {name!r}, a column that {where} does not have"
            remedy = "name another one, or leave it out"
        raise StageError(f"{asked}; its columns are {listed_names(found)}: {remedy}")


def check_scores_of(reader: KeptTables, fields: ScoreFields) -> None:
    """`check_score_columns` for the rows that a filter reads, of whose tables the footers of one part are read."""
    if reader.parts:
        check_score_columns(reader.column_names, fields, f"the table of {reader.kept!r}")


def rows_of_scores(table: pa.Table, columns: Mapping[ScoreName, str]) -> list[dict[ScoreName, Score]]:
    """The scores of each row of a table, by name; `columns` are those of `score_columns`."""
    read = {name: read_scores(table, column, name) for name, column in columns.items()}
    return [{name: scores[row] for name, scores in read.items()} for row in range(table.num_rows)]


def read_scores(table: pa.Table, column: str, name: ScoreName) -> list[Score]:
    """The scores of a column: None where there is none (null, empty text), and an error where it is no number."""
    import pyarrow as pa
    from pyarrow import types

    values = table[column]
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = values.cast(pa.large_binary()).to_pylist()
        given: list[Any] = [None if text is None else text.decode(errors="backslashreplace") for text in texts]
    else:
        given = values.cast(pa.float64()).to_pylist() if types.is_decimal(kind) else _plain_values(values)
    return [_read_tag(value) if name == "nsfw_tag" else _read(value) for value in given]


def count_scores(
    rows: Sequence[Mapping[ScoreName, Score]], columns: Mapping[ScoreName, str]
) -> dict[str, dict[str, int]]:
    """Rule to the number of items by how the rule was applied to them: `applied to COLUMN`, `null`, `unreadable`, or
    `no column`; the sum of each is the number of `rows`."""
    counts: dict[str, dict[str, int]] = {}
    for name, rule in RULES.items():
        if name not in columns:
            counts[rule] = {"no column": len(rows)} if rows else {}
            continue
        applied = f"applied to {columns[name]}"
        counts[rule] = dict(Counter(_state_of(row[name], applied) for row in rows))
    return counts


def check_scores_applied(records: Iterable[PartRecord], fields: ScoreFields, items: str) -> None:
    """Raise `StageError` where a limit that is set met no column in any part; `items` is what errors call the rows."""
    states: dict[str, set[str]] = {rule: set() for rule in RULES.values()}
    for record in records:
        for rule, counts in RuleFacts.of(record).rule_counts.items():
            states.setdefault(rule, set()).update(counts)
    for rule in RULES.values():
        if getattr(fields, rule) is not None and states[rule] == {"no column"}:
            raise StageError(
                f"{rule}={getattr(fields, rule)!r} is set, and no table has a column to hold against it, so it was "
                f"applied to none of the {items}: name the column in the recipe (score_columns), or leave {rule} out"
            )


def not_a_score(table: pa.Table, column: str, name: ScoreName) -> str | None:
    """Words about a score column of which no value can be read, though some are there; None for any other."""
    scores = read_scores(table, column, name)
    errors = [score for score in scores if isinstance(score, UnreadableScoreError)]
    return str(errors[0]) if errors and not any(isinstance(score, float) for score in scores) else None


def _state_of(score: Score, applied: str) -> str:
    if score is None:
        return "null"
    return "unreadable" if isinstance(score, UnreadableScoreError) else applied


def _plain_values(values: pa.ChunkedArray) -> list[Any]:
    """Numbers and booleans as they are; of any other type, what is not null as text that is no number."""
    from pyarrow import types

    kind = values.type
    if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        plain: list[Any] = values.to_pylist()
        return plain
    return [f"<{kind}>" if valid else None for valid in values.is_valid().to_pylist()]


def _read(value: object) -> Score:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UnreadableScoreError(repr(value))
    try:
        score = float(value)
    except (ValueError, OverflowError):
        return UnreadableScoreError(repr(value))
    return score if math.isfinite(score) else UnreadableScoreError(repr(value))


def _read_tag(value: object) -> Score:
    """The place of a tag in `NSFW_TAGS`; true and false are the last and the first."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        return float(value * (len(NSFW_TAGS) - 1))
    tag = value.strip().upper() if isinstance(value, str) else ""
    return float(NSFW_TAGS.index(tag)) if tag in NSFW_TAGS else UnreadableScoreError(repr(value))
