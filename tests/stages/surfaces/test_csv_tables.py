"""No cell of a table runs: text that begins as a formula does stands behind an apostrophe, and numbers stay numbers."""

import csv
import io

import pytest
from hypothesis import given

from stages.surfaces.csv_tables import cell, write_csv
from stages.surfaces.visible import visible
from tests.stages.surfaces.hostile_text import TEXTS

FORMULAS = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@given(TEXTS)
def test_no_cell_begins_as_a_formula_whatever_separates_cells(text: str) -> None:
    file = io.StringIO()
    write_csv(file, ("name", text), [(text, 1)])
    names, row = csv.reader(io.StringIO(file.getvalue()))
    assert names[1] == row[0] and row[1] == "1" and row[0].replace("'", "") == visible(text).replace("'", "")
    for piece in row[0].replace("\t", ";").replace("\n", ";").split(";"):
        assert not piece.lstrip().startswith(FORMULAS)


@pytest.mark.parametrize("value", [0, -1, -2.5, True])
def test_numbers_are_written_as_numbers(value: float) -> None:
    assert cell(value) is value


def test_nothing_is_an_empty_cell() -> None:
    assert cell(None) == "" and cell("") == ""
