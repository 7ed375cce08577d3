"""Repeated rows get the ordinals that a look at all rows at once would give."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.origins import repeats
from stages.origins.repeats import IdWriter, repeats_in
from stages.origins.sample_id import sample_id
from tests.worlds.whole_table import RowSlice, slice_rows


@given(st.lists(st.binary(max_size=1), max_size=60))
def test_ordinals_are_those_of_the_whole_table(rows: list[bytes]) -> None:
    ids = np.frombuffer(b"".join(sample_id("", [row]) for row in rows), "V16")
    found = dict(repeats_in(ids, np.arange(len(rows))).tolist())
    whole = slice_rows([(row,) for row in rows], max(1, len(rows)))
    assert found == (RowSlice.of(whole[0]).repeats if rows else {})


@pytest.mark.parametrize("estimate", [0, 10, 100_000_000])
def test_the_file_of_ids_does_not_depend_on_the_estimate_of_rows(tmp_path: Path, estimate: int) -> None:
    ids = [sample_id("", [b"%d" % number]) for number in range(5000)]
    with IdWriter(tmp_path / "scratch", estimate) as writer:
        writer.add(ids[:10])
        writer.add(ids[10:])
        writer.write(tmp_path / "ids.bin")
    data = (tmp_path / "ids.bin").read_bytes()
    records = np.frombuffer(data[8 * (repeats.NUM_SLOTS + 1) :], repeats.ID_FIELDS)
    expected = sorted(range(5000), key=lambda row: (int.from_bytes(ids[row][:2]) >> 6, row))
    assert records["row"].tolist() == expected
    starts = np.frombuffer(data[: 8 * (repeats.NUM_SLOTS + 1)], "<i8")
    slots = [int.from_bytes(ids[row][:2]) >> 6 for row in expected]
    assert starts.tolist() == np.searchsorted(slots, np.arange(repeats.NUM_SLOTS + 1)).tolist()
