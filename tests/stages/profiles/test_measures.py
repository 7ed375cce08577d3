"""Values are counted in bins that never depend on the data, whatever type their column has."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.profiles.measures import MEASURES, host_of, names_of, values_of

BY_NAME = {measure.name: measure for measure in MEASURES}


def values(name: str, columns: dict[str, Any]) -> list[float | None] | None:
    found = values_of(BY_NAME[name], pa.table(columns))
    return None if found is None else [None if math.isnan(value) else value for value in found.tolist()]


def test_edges_rise_and_ticks_are_edges() -> None:
    for measure in MEASURES:
        assert list(measure.edges) == sorted(set(measure.edges)), measure.name
        assert {tick for tick, _ in measure.tick_labels} <= set(measure.edges), measure.name
        assert len(measure.edges) <= 128, "a profile grows with the bins"


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_value_lies_between_the_edges_of_its_bin(measure: Any) -> None:
    chosen = np.array([-math.inf, *measure.edges, math.inf])
    inside = np.concatenate([chosen[1:-1], (chosen[1:-2] + chosen[2:-1]) / 2, [-1e9, 1e9]])
    for value, place in zip(inside, measure.bins_of(inside), strict=True):
        assert chosen[place] <= value < chosen[place + 1]


@pytest.mark.parametrize(
    ("column", "read"),
    [
        (pa.array([1, None, 3], pa.int32()), [1, None, 3]),
        (pa.array([0.5, math.nan, math.inf], pa.float32()), [0.5, None, None]),
        (pa.array(["0.25", " 1e-1 ", "LIKELY"]), [0.25, 0.1, None]),
        (pa.array(["", None, "nan"], pa.large_string()), [None, None, None]),
        (pa.array([Decimal("1.50"), None, Decimal("2.00")]), [1.5, None, 2]),
        (pa.array([True, False, None]), [None, None, None]),
        (pa.array(["1", "2", "1"]).dictionary_encode(), [1, 2, 1]),
        (pa.array([[1.0], None, []]), [None, None, None]),
    ],
)
def test_any_column_can_be_counted(column: pa.Array, read: list[float | None]) -> None:
    assert values("similarity", {"similarity": column}) == read


def test_columns_are_found_by_the_spellings_that_filters_know() -> None:
    assert values("similarity", {"clip_similarity_vitb32": [0.3]}) == [0.3]
    assert values("pwatermark", {"watermark_score": [0.3]}) == [0.3]
    assert values("similarity", {"other": [0.3]}) is None


def test_sides_and_lengths() -> None:
    sizes = {"width_px": pa.array([30, 200, None, 0]), "height_px": pa.array([90, 100, 5, 0])}
    assert values("short_side_px", sizes) == [30, 100, None, None]
    assert values("aspect", sizes) == [3, 2, None, None]
    assert values("aspect", {"width_px": [3]}) is None
    assert values("caption_chars", {"caption": ["", "ab", None, "犬犬"]}) == [0, 2, None, 2]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.example.com/a.jpg", "example.com"),
        ("http://user@CDN.example:8080/x", "cdn.example"),
        ("http://[::1", None),
        ("data:,x", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url: str | None, host: str | None) -> None:
    assert host_of(url) == host


def test_names() -> None:
    table = pa.table({"url": ["http://a.b/c", None], "LICENSE": ["cc0", ""], "language": ["en", None]})
    assert names_of("host", table) == ["a.b", None]
    assert names_of("licence", table) == ["cc0", None]
    assert names_of("language", table) == ["en", None]
    assert names_of("caption_by", table) is None
    not_text = pa.table({"license": pa.array([b"\xff\xfe"], pa.binary()).cast(pa.string(), safe=False)})
    assert names_of("licence", not_text) == ["\\xff\\xfe"]
