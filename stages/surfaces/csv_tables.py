"""CSV of which no cell runs: programs for tables take text that begins with `=` or `@` for a formula.

Owns how such a cell is written: behind an apostrophe, which these programs take for the mark of text. Numbers stay
numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Final, TextIO, TypeAlias

from stages.surfaces.visible import visible

Cell: TypeAlias = "str | int | float | None"
_FORMULA: Final = re.compile(r"(^(?=[\t\n])|(?:^|[;\t\n])(?=\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20\ufe63\u2212]))")
"""The place before a formula: at the beginning of a cell, or behind what some programs take for the end of one."""


def cell(value: Cell) -> str | int | float:
    """A value as a cell: text that no program runs, numbers as they are, nothing for None.

    >>> cell("=HYPERLINK(1)"), cell(-1.5), cell("a;@b")
    ("'=HYPERLINK(1)", -1.5, "a;'@b")
    """
    if isinstance(value, int | float):
        return value
    return _FORMULA.sub(r"\1'", visible(value)) if value else ""


def write_csv(file: TextIO, names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table: a line of names, and a line for each row."""
    written = csv.writer(file, lineterminator="\n")
    written.writerow([cell(name) for name in names])
    written.writerows([cell(value) for value in row] for row in rows)
