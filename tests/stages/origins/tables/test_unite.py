"""Columns of many files become columns of one type, or are refused by name."""

import io
import json
from typing import Any

import pyarrow as pa
import pytest

from stages.contract import StageError
from stages.origins.tables.batches import plain_values, read_batches
from stages.origins.tables.formats import format_of
from stages.origins.tables.unite import conformed, settled, united


def read_json(*files: list[Any]) -> pa.Table:
    """The column `x` of some files, a value a row, united."""
    data = ["\n".join(json.dumps({"x": value}) for value in values).encode() for values in files]
    tables = [pa.Table.from_batches(read_batches(io.BytesIO(one), format_of("a.jsonl"))) for one in data]
    schema = settled(united((f"{number}.jsonl", table.schema) for number, table in enumerate(tables)))
    return pa.concat_tables([conformed(table, schema) for table in tables])


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ([[1, 2], [None]], pa.int64()),
        ([[1], [2.5], [None]], pa.float64()),
        ([[1, 2.5]], pa.float64()),
        ([[True], [None, False]], pa.bool_()),
        ([["a"], ["b", None]], pa.string()),
        ([["a"], [1]], pa.string()),
        ([["1"], [["a", "b"]], [{"k": None}], [True]], pa.string()),
        ([[2**70]], pa.string()),
        ([[None], [None]], pa.null()),
    ],
)
def test_values_of_json_come_back_as_they_were(files: list[list[Any]], kind: pa.DataType) -> None:
    table = read_json(*files)
    assert table.schema.field("x").type == kind
    assert plain_values(table["x"], table.schema.field("x")) == [value for values in files for value in values]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.null(), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.struct([("a", pa.int32())]), pa.struct([("b", pa.int32())]), None),
    ],
)
def test_types_that_agree_unite(one: pa.DataType, other: pa.DataType, expected: pa.DataType | None) -> None:
    schemas = [("a", pa.schema([("x", one)])), ("b", pa.schema([("x", other), ("y", one)]))]
    schema = united(schemas)
    assert schema.names == ["x", "y"]
    assert expected is None or schema.field("x").type == expected
    assert conformed(pa.table({"x": pa.nulls(2, one)}), schema).schema == schema


@pytest.mark.parametrize(("one", "other"), [(pa.int64(), pa.string()), (pa.list_(pa.int8()), pa.bool_())])
def test_types_that_do_not_are_named_with_their_files(one: pa.DataType, other: pa.DataType) -> None:
    with pytest.raises(StageError, match=f"column 'x' is {one} in a.csv and {other} in b.csv".replace("<", ".")):
        united([("a.csv", pa.schema([("x", one)])), ("b.csv", pa.schema([("x", other)]))])
