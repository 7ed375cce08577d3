"""Slices of parameters in files: however they were cut, they are read into any other cuts."""

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contract import StageError
from stages.training.engine.files import read_shards, write_shard
from stages.training.engine.zero_slices import KINDS, ParameterSlice

LENGTHS = {"layers.0.weight": 13, "norm": 5}


def cut(edges: dict[str, list[int]], fill: bool) -> list[ParameterSlice]:
    """Pieces between the edges of each parameter: value i of kind k is 100 k + i, or nothing yet."""
    return [
        ParameterSlice(
            name,
            start,
            {
                kind: 100.0 * number + torch.arange(start, until) if fill else torch.full((until - start,), torch.nan)
                for number, kind in enumerate(KINDS)
            },
        )
        for name, points in edges.items()
        for start, until in pairwise([0, *sorted(points), LENGTHS[name]])
    ]


edges = st.fixed_dictionaries({name: st.lists(st.integers(0, length), max_size=4) for name, length in LENGTHS.items()})


@settings(deadline=None, max_examples=40)
@given(edges, edges, st.integers(1, 3))
def test_any_cuts_read_any_other(written: dict, wanted: dict, num_files: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        held, empty = cut(written, fill=True), cut(wanted, fill=False)
        for rank in range(num_files):
            # DeepSpeed gives one rank at most one slice of a parameter.
            mine = {piece.name: piece for piece in held[rank::num_files]}
            rest = [piece for piece in held[rank::num_files] if mine[piece.name] is not piece]
            write_shard(Path(folder), rank, list(mine.values()))
            for number, piece in enumerate(rest):
                write_shard(Path(folder), 100 * (rank + 1) + number, [piece])
        read_shards(Path(folder), empty)
    for found, expected in zip(empty, cut(wanted, fill=True), strict=True):
        assert all(found.values[kind].equal(expected.values[kind].float()) for kind in KINDS)


def test_values_that_no_file_holds_are_named(tmp_path: Path) -> None:
    held = cut({"norm": [3]}, fill=True)
    write_shard(tmp_path, 0, held[:1])
    with pytest.raises(StageError, match="holds 0 of 2 values of norm"):
        read_shards(tmp_path, cut({"norm": [3]}, fill=False))
