"""Rules of the user's own: expressions of SQL over the columns of a sample table, each with a reason of its own.

    rules = {"stock_photo": "caption ILIKE '%stock photo%'", "mismatched": "similarity < 0.28"}

A pair that meets a rule is dropped for its name; of several, for the first in alphabetical order. DuckDB evaluates the
expressions (`rule_engine.py` says what they may hold).

    the rule is true     the pair is dropped                                  counted as `met`
    false                the pair passes                                      counted as `not met`
    null                 the rule does not apply: what it names is null in    counted as `null`
                         that row; `x IS NULL` is a rule as well
    NaN, infinity, or    the pair fails as `score_unreadable`                 counted as `unreadable`
    text that is no
    UTF-8 in a column

Names and types are checked against the first sample table before any part is judged. `similarity`, `punsafe` and
`pwatermark` are the scores that limits are held against, as numbers, whatever the table calls them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stages.contract import StageError
from stages.formats.sample_table import ItemReason
from stages.origins.scores import Score, ScoreName, UnreadableScoreError
from stages.pair_filters.rule_engine import MAX_EXPRESSION_CHARS, RuleEngine

if TYPE_CHECKING:
    import pyarrow as pa

RULE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""How a rule may be called: its name is a reason in verdict tables."""

NUMBERS: Final[tuple[ScoreName, ...]] = ("similarity", "punsafe", "pwatermark")
"""Scores that rules see as numbers under these names."""


class AppliedRules(NamedTuple):
    """What the rules say of the rows of a table."""

    reasons: list[str | None]
    """The name of the first rule that each row meets; None for those that meet none."""
    is_unreadable: list[bool]
    """Whether a column that a rule names holds no number, or no text, in that row."""
    counts: dict[str, dict[str, int]]
    """`rules.NAME` to the number of rows by how the rule was applied: `met`, `not met`, `null` or `unreadable`."""


def check_syntax(rules: Mapping[str, str]) -> None:
    """Raise `ValueError` for a name that is no reason, and for an expression that no table could be asked."""
    for name, expression in rules.items():
        if not RULE_NAME.fullmatch(name):
            raise ValueError(
                f"rule {name!r} has a name that is no reason: take small letters, digits and _, such as 'stock_photo'"
            )
        if len(expression) > MAX_EXPRESSION_CHARS:
            raise ValueError(f"rule {name!r} has {len(expression):,} characters; at most {MAX_EXPRESSION_CHARS:,}")
    if rules:
        with RuleEngine() as engine:
            for name, expression in rules.items():
                engine.columns_named(name, expression)


def check_against(rules: Mapping[str, str], table: pa.Table, where: str) -> None:
    """Raise `StageError` for a rule that names a column which the table has not, or whose result is no yes or no.

    Of `table`, the names and types of columns are looked at; it may have no rows. `where` is how errors call it.
    """
    if not rules:
        return
    with RuleEngine() as engine:
        engine.load(rules, table.slice(0, 0), where)
        for name, expression in rules.items():
            kind = engine.type_of(name, expression)
            if kind != "BOOLEAN":
                raise StageError(
                    f"rule {name!r} ({expression}) gives {kind} for {where}, where yes or no was expected: compare it "
                    "with something"
                )


def apply_rules(rules: Mapping[str, str], table: pa.Table, where: str) -> AppliedRules:
    """Apply the rules to each row of a table. Raises `StageError` like `check_against`, and where a value breaks one.

    Time grows with rows times rules, memory with the columns that the rules name.
    """
    names, num_rows = sorted(rules), table.num_rows
    applied = AppliedRules([None] * num_rows, [False] * num_rows, {})
    if not names:
        return applied
    with RuleEngine() as engine:
        unreadable = engine.load(rules, table, where)
        results = {name: engine.results(name, rules[name]) for name in names}
    for name in names:
        states = [
            "unreadable" if bad else _state_of(met) for met, bad in zip(results[name], unreadable[name], strict=True)
        ]
        applied.counts[f"rules.{name}"] = dict(Counter(states))
        for row, state in enumerate(states):
            applied.is_unreadable[row] |= state == "unreadable"
            if state == "met" and applied.reasons[row] is None:
                applied.reasons[row] = name
    return applied


def reasons_of_rules(rules: Mapping[str, str]) -> dict[str, ItemReason]:
    """The reason of each rule, by its name."""
    made: Any = ItemReason  # an enumeration with these members, which are known when the recipe is
    members: Iterable[ItemReason] = (
        made("RuleReason", [(name.upper(), name) for name in sorted(rules)]) if rules else ()
    )
    return {reason.value: reason for reason in members}


def rule_table(
    samples: pa.Table,
    columns: Mapping[ScoreName, str],
    scores: Sequence[Mapping[ScoreName, Score]],
    measures: Mapping[str, pa.Array],
) -> pa.Table:
    """What rules are about: a sample table, its scores as numbers under our names, and measures.

    `columns` are those that hold scores, `scores` the scores of each row. One that cannot be read is NaN.
    """
    import pyarrow as pa

    table = samples
    for name in (one for one in NUMBERS if one in columns):
        values = [math.nan if isinstance(row[name], UnreadableScoreError) else row[name] for row in scores]
        spelled = [column for column in table.column_names if column.lower() == name]
        table = table.drop_columns(spelled).append_column(name, pa.array(values, pa.float64()))
    for measure, column in measures.items():
        table = table.append_column(measure, column)
    return table


def _state_of(met: bool | None) -> str:
    return "null" if met is None else "met" if met else "not met"
