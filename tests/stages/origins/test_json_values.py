"""Columns of any type are spelled as JSON, and what cannot be is null and counted."""

import json
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from stages.origins.json_values import json_rows
from stages.origins.tables.row_batches import JSON_MARK

NO_UTF8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"espa\xf1ol"]).buffers())
SPELLED: list[tuple[pa.Array, Any]] = [
    (pa.array([["red", None]]), ["red", None]),
    (pa.array([{"a": 1, "b": [{"c": None}]}]), {"a": 1, "b": [{"c": None}]}),
    (pa.array([{"bytes": b"\xff\xd8", "path": "a.jpg"}]), {"bytes": "/9g=", "path": "a.jpg"}),
    (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())), [["k", 1]]),
    (pa.array([Decimal("1.50")]), "1.50"),
    (pa.array([date(2020, 1, 2)]), "2020-01-02"),
    (pa.array([10_000_000], pa.date32()), "29349-01-26"),
    (pa.array([time(1, 2)]), "01:02:00.000000"),
    (pa.array([timedelta(microseconds=5)]), "5"),
    (pa.array([1], pa.timestamp("us", tz="Mars/Base")), "1970-01-01 00:00:00.000001"),
    (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [1, 2]),
    (pa.array(["a"]).dictionary_encode(), "a"),
    (pa.array([True]), True),
    (pa.array([b"0" * 16], pa.uuid()), "MDAwMDAwMDAwMDAwMDAwMA=="),
]
LOST = [
    NO_UTF8,
    pa.array([float("nan")]),
    pa.array([2**62], pa.timestamp("s")),
    pa.array([[1]], pa.list_view(pa.int8())),
]


@pytest.mark.parametrize("array", LOST, ids=lambda array: str(array.type))
def test_what_json_cannot_spell_is_null_and_counted(array: pa.Array) -> None:
    assert json_rows(pa.table({"x": array})) == ([{"x": None}], {"x": 1})


@pytest.mark.parametrize(("array", "expected"), SPELLED, ids=[str(array.type) for array, _ in SPELLED])
def test_values_are_spelled_by_type(array: pa.Array, expected: Any) -> None:
    table = pa.table({"x": pa.concat_arrays([array, pa.nulls(1, array.type), array])})
    assert json_rows(table) == ([{"x": expected}, {"x": None}, {"x": expected}], {})
    assert json_rows(table.slice(1, 2))[0] == [{"x": None}, {"x": expected}]
    json.dumps(json_rows(table)[0], allow_nan=False)


def test_json_text_is_spelled_as_what_it_holds() -> None:
    schema = pa.schema([pa.field("x", pa.string(), metadata={JSON_MARK: b"other"})])
    table = pa.table([pa.array(['{"a": [1]}', '"a"', None])], schema=schema)
    assert json_rows(table) == ([{"x": {"a": [1]}}, {"x": "a"}, {"x": None}], {})
