"""Rows of a step over ranks: even, or refused with the numbers."""

import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract import GangLayout, StageError
from stages.training.loading.split import RowSplit


def splits(num_rows: int, world_size: int, micro_rows: int, zero_stage: Literal[0, 1, 2, 3] = 2) -> list[RowSplit]:
    layout = GangLayout(num_ranks=world_size, micro_rows=micro_rows, zero_stage=zero_stage)
    return [RowSplit.of(num_rows, layout, rank, world_size) for rank in range(world_size)]


def test_an_uneven_layout_is_refused_by_name() -> None:
    with pytest.raises(StageError, match="rows_per_step = 12 .* 4 ranks x 2 rows in a forward pass = 8"):
        splits(12, world_size=4, micro_rows=2)


@given(
    world_size=st.integers(1, 8),
    micro_rows=st.integers(1, 3),
    num_passes=st.integers(1, 4),
    seed=st.integers(0, 999),
    zero_stage=st.sampled_from([1, 2]),
)
def test_every_row_is_computed_once_in_full_passes(
    world_size: int, micro_rows: int, num_passes: int, seed: int, zero_stage: Literal[1, 2]
) -> None:
    costs = [
        random.Random(seed + row).choice([1.0, 1.0, 2.5, 7.0]) for row in range(world_size * micro_rows * num_passes)
    ]
    passes = [split.of_step(costs) for split in splits(len(costs), world_size, micro_rows, zero_stage)]
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


def test_where_ranks_wait_once_a_step_its_sums_are_even_though_no_pass_is() -> None:
    """Two ranks with two rows each: 5 + 2 beside 4 + 3. In passes, 5 beside 4 and 3 beside 2 wait for one another."""
    costs = [5.0, 4.0, 3.0, 2.0]
    one, other = splits(4, world_size=2, micro_rows=1, zero_stage=1)
    assert (one.of_step(costs), other.of_step(costs)) == ([[0], [3]], [[1], [2]])
    assert one.imbalance(costs) == 0
    assert splits(4, world_size=2, micro_rows=1)[0].imbalance(costs) == pytest.approx(8 / 7 - 1)


def test_rows_are_exchanged_where_the_dearest_first_leaves_ranks_uneven() -> None:
    """The dearest first makes 8 + 5 + 4 and 7 + 7 + 1; the exchange of 8 for 7 makes 16 and 16."""
    costs = [8.0, 7.0, 7.0, 5.0, 4.0, 1.0]
    (one, other) = splits(6, world_size=2, micro_rows=3)
    assert one.imbalance(costs) == 0
    assert (one.of_step(costs), other.of_step(costs)) == ([[1, 3, 4]], [[0, 2, 5]])


def test_a_step_of_the_mixture_of_videos_and_texts_is_even_with_eight_rows_a_rank() -> None:
    rng = random.Random(3)
    costs = [rng.choice([1.0, 1.1, 1.3, 1.9]) * rng.uniform(0.9, 1.1) for _ in range(128 * 8)]
    even, passes = splits(1024, world_size=128, micro_rows=1, zero_stage=1)[0], splits(1024, 128, 1)[0]
    assert even.imbalance(costs) < 0.002 < 0.02 < passes.imbalance(costs)
