"""Rows have one name in every run, and parts depend on nothing but the table and their size."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.origins.sample_id import sample_id
from tests.worlds.whole_table import RowSlice, slice_rows


def test_a_sample_id_is_the_digest_of_source_and_fields_with_their_lengths() -> None:
    assert sample_id("web", [b"http://a", b"b"]) == hashlib.sha256(b"3:web8:http://a1:b").digest()[:16]
    assert sample_id("web", [b"http://a", None], ordinal=2) == hashlib.sha256(b"3:web8:http://a-1:2").digest()[:16]


@given(st.lists(st.binary(max_size=4) | st.none(), max_size=4), st.lists(st.binary(max_size=4) | st.none(), max_size=4))
def test_different_fields_have_different_names(one: list[bytes | None], other: list[bytes | None]) -> None:
    if len(one) == len(other):
        assert (sample_id("s", one) == sample_id("s", other)) == (one == other)


@given(st.lists(st.sampled_from([(b"a", b"b"), (b"ab", b""), (b"c", None)]), max_size=30), st.integers(1, 7))
def test_every_row_of_every_part_gets_a_name_of_its_own(rows: list[tuple[bytes | None, ...]], size: int) -> None:
    parts = slice_rows(rows, size)
    assert [part.num_items for part in parts] == [
        len(rows[start : start + size]) for start in range(0, len(rows), size)
    ]
    names = [
        sample_id("s", rows[row], here.repeats.get(row - here.start, 0))
        for here in (RowSlice.of(part) for part in parts)
        for row in range(here.start, here.stop)
    ]
    assert len(set(names)) == len(rows)
    whole = slice_rows(rows, 1000)
    expected = [sample_id("s", row, RowSlice.of(whole[0]).repeats.get(number, 0)) for number, row in enumerate(rows)]
    assert names == expected


def test_repeats_are_counted_from_the_first() -> None:
    part, last = slice_rows([(b"x",), (b"y",), (b"x",), (b"x",)], 3)
    assert [part.task, last.task] == [
        {"start": 0, "stop": 3, "repeats": {"2": 1}},
        {"start": 3, "stop": 4, "repeats": {"0": 2}},
    ]
    assert RowSlice.of(part).repeats == {2: 1}
    assert [part.name, last.name] == ["00000", "00001"]


def test_an_empty_table_has_no_parts() -> None:
    assert slice_rows([], 10) == []


@pytest.mark.parametrize("ending", [b"\0", b"\0\0"])
def test_names_that_end_in_zero_bytes_are_told_apart(ending: bytes) -> None:
    rows = [(b"x" + ending * n,) for n in range(300)]
    assert all(not RowSlice.of(part).repeats for part in slice_rows(rows, 300))
