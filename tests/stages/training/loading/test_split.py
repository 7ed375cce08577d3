"""Rows of a step over ranks: even, or refused with the numbers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract import GangLayout, StageError
from stages.training.loading.split import RowSplit


def splits(num_rows: int, world_size: int, micro_rows: int) -> list[RowSplit]:
    layout = GangLayout(num_ranks=world_size, micro_rows=micro_rows)
    return [RowSplit.of(num_rows, layout, rank, world_size) for rank in range(world_size)]


def test_an_uneven_layout_is_refused_by_name() -> None:
    with pytest.raises(StageError, match="rows_per_step = 12 .* 4 ranks x 2 rows in a forward pass = 8"):
        splits(12, world_size=4, micro_rows=2)


@given(
    world_size=st.integers(1, 8), micro_rows=st.integers(1, 3), num_passes=st.integers(1, 4), seed=st.integers(0, 999)
)
def test_every_row_is_computed_once_in_full_passes(
    world_size: int, micro_rows: int, num_passes: int, seed: int
) -> None:
    costs = [
        random.Random(seed + row).choice([1.0, 1.0, 2.5, 7.0]) for row in range(world_size * micro_rows * num_passes)
    ]
    passes = [split.of_step(costs) for split in splits(len(costs), world_size, micro_rows)]
    assert {len(mine) for mine in passes} == {num_passes}
    assert {len(rows) for mine in passes for rows in mine} == {micro_rows}
    assert sorted(row for mine in passes for rows in mine for row in rows) == list(range(len(costs)))


def test_rows_that_cost_alike_go_through_together() -> None:
    """Eight dear rows and eight cheap ones on two ranks: no rank waits for another."""
    costs = [9.0, 1.0] * 8
    for split in splits(16, world_size=2, micro_rows=2):
        assert [{costs[row] for row in rows} for rows in split.of_step(costs)] == [{9.0}, {9.0}, {1.0}, {1.0}]
        assert split.imbalance(costs) == 0


def test_a_rank_takes_cheap_rows_beside_a_dear_one() -> None:
    costs = [5.0, 4.0, 2.0, 1.0]
    one, other = splits(4, world_size=2, micro_rows=2)
    assert (one.of_step(costs), other.of_step(costs)) == ([[0, 3]], [[1, 2]])
    assert one.imbalance(costs) == other.imbalance(costs) == 0


def test_imbalance_is_what_the_slowest_rank_takes_longer() -> None:
    (one, _) = splits(2, world_size=2, micro_rows=1)
    assert one.imbalance([3.0, 1.0]) == pytest.approx(0.5)
