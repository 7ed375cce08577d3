"""How often each licence and each language was drawn: counts of the columns that samples carry.

Owns which columns count as the licence and the language of a sample, and how counts are kept short. A part of a draw
records them as a fact, from the table that it reads anyway; a head sums them; no later reader looks at rows again. A
part holds `MAX_PART_VALUES` values of a column, a head `MAX_CARRIED_VALUES`: neither grows with the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

CARRIED_COUNTS: Final = "carried_counts"
"""The fact of a part of a draw: `licence`, `language` to value to the number of drawings that carry it."""
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "licence": ("license", "licence", "license_name", "license_url"),
    "language": ("language", "lang", "language_code"),
}
"""The spellings of a column, in any letter case; the first that a table has counts."""
CARRIED_SPELLINGS: Final = tuple(name for spellings in COLUMNS.values() for name in spellings)
"""All of them, for readers that name the columns that they want."""
MAX_PART_VALUES: Final = 32
"""Values of one column that a part lists."""
MAX_CARRIED_VALUES: Final = 64
"""Values of one column of one source that a head lists."""
MAX_VALUE_CHARACTERS: Final = 100
"""Characters of a value that are kept."""
OTHER_VALUES: Final = "(other values)"
"""Stands for all values that are too rare to be listed."""


def carried_counts(table: pa.Table, drawn: NDArray[np.int64]) -> dict[str, dict[str, int]]:
    """Of the drawings of a part: `licence` and `language` to value to number; '' where there is none.

    `drawn` is the row of `table` of each drawing. Columns that it does not have, or that hold no text, are left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[str, dict[str, int]] = {}
    for column, spellings in COLUMNS.items():
        by_spelling = {name.lower(): name for name in reversed(table.column_names)}
        name = next((by_spelling[spelling] for spelling in spellings if spelling in by_spelling), None)
        if name is None or not (pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type)):
            continue
        values = table[name].cast(pa.large_binary()).take(pa.array(drawn))
        summed: dict[str, int] = {}
        for one in pc.value_counts(values).to_pylist():
            value = _plain(one["values"])
            summed[value] = summed.get(value, 0) + one["counts"]
        if summed:
            found[column] = most_frequent(summed, MAX_PART_VALUES)
    return found


def most_frequent(counts: Mapping[str, int], num_values: int) -> dict[str, int]:
    """The `num_values` most frequent values, those of one frequency in order of value; the rest as `OTHER_VALUES`.

    >>> most_frequent({"en": 5, "de": 2, "fr": 1}, 2)
    {'en': 5, 'de': 2, '(other values)': 1}
    """
    ordered = sorted(counts.items(), key=lambda item: (item[0] == OTHER_VALUES, -item[1], item[0]))
    rest = sum(number for _, number in ordered[num_values:])
    return {**dict(ordered[:num_values]), **({OTHER_VALUES: rest} if rest else {})}


def _plain(value: bytes | None) -> str:
    """A value on one line. Text in Parquet need not be UTF-8."""
    return " ".join((value or b"").decode("utf-8", "replace").split())[:MAX_VALUE_CHARACTERS]
