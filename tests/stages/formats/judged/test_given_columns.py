"""Given columns join rows, or stand in place of their columns, row by row."""

from typing import Any

import pyarrow as pa
import pytest

from stages.formats.judged.given_columns import with_given

ROWS = pa.table({"caption": ["a", "b"], "similarity": ["0.1", "0.2"], "verdict": ["kept", "kept"]})


@pytest.mark.parametrize(
    ("given", "name", "values"),
    [
        ({"caption": ["x", "y"]}, "caption", ["x", "y"]),
        ({"caption": [None, "y"]}, "caption", ["a", "y"]),
        ({"similarity": [0.5, 0.6]}, "similarity", [0.5, 0.6]),
        ({"similarity": [None, 0.6]}, "similarity", [0.1, 0.6]),
        ({"aesthetic": [None, 6.5]}, "aesthetic", [None, 6.5]),
    ],
)
def test_a_null_leaves_a_row_its_own_value(given: dict[str, list[Any]], name: str, values: list[Any]) -> None:
    joined = with_given(ROWS, pa.table(given))
    assert joined[name].to_pylist() == values
    assert joined.column_names == [*ROWS.column_names, *(given.keys() - set(ROWS.column_names))]
    assert joined.drop_columns([name]) == ROWS.drop_columns([name] if name in ROWS.column_names else [])


def test_an_own_value_of_another_kind_is_refused() -> None:
    rows = pa.table({"similarity": ["likely", "0.2"]})
    with pytest.raises(pa.ArrowInvalid, match="likely"):
        with_given(rows, pa.table({"similarity": [None, 0.6]}))
