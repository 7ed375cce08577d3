"""Numbers keep every digit that they were given with."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.conversations.reasons import UnreadableRecordError
from stages.conversations.spatial.numbers import depth_of, is_number, spelled_numbers

NUMBERS = st.integers(-(10**20), 10**20) | st.floats(-1e29, 1e29)


@given(st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_numbers_are_read_back_as_they_were(values: Any) -> None:
    assert json.loads(spelled_numbers(values)) == values


@pytest.mark.parametrize("value", [None, True, "a", "1e", "", float("inf"), 10**400, {"a": 1}, [1, None], [0] * 300])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(UnreadableRecordError):
        spelled_numbers(value)


@given(st.recursive(NUMBERS | st.none() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=9))
def test_depths_are_of_even_lists(values: Any) -> None:
    depth = depth_of(values)
    assert depth >= -1
    if depth == 0:
        assert is_number(values)


def test_depths() -> None:
    assert [depth_of(one) for one in (1, "1.5", [1], [[1], [2]], [[1], [2, 3]], [1, [2]], [], "a", None)] == [
        0, 0, 1, 2, -1, -1, -1, -1, -1,
    ]  # fmt: skip
