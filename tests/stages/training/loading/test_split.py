"""Rows of a step over any number of ranks: each computed once, as even as they can be."""

import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract import GangLayout
from stages.training.loading.split import RowSplit


def splits(num_rows: int, world_size: int, micro_rows: int, zero_stage: Literal[0, 1, 2, 3] = 2) -> list[RowSplit]:
    layout = GangLayout(num_ranks=world_size, micro_rows=micro_rows, zero_stage=zero_stage)
    return [RowSplit.of(num_rows, layout, rank, world_size) for rank in range(world_size)]


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


@given(
    num_rows=st.integers(1, 40),
    world_size=st.integers(1, 9),
    micro_rows=st.integers(1, 3),
    seed=st.integers(0, 999),
    zero_stage=st.sampled_from([1, 2]),
)
def test_any_number_of_ranks_computes_every_row_once_in_as_many_passes(
    num_rows: int, world_size: int, micro_rows: int, seed: int, zero_stage: Literal[1, 2]
) -> None:
    costs = [random.Random(seed + row).choice([1.0, 1.0, 2.5, 7.0]) for row in range(num_rows)]
    ranks = splits(num_rows, world_size, micro_rows, zero_stage)
    passes = [split.of_step(costs) for split in ranks]
    (num_passes,) = {len(mine) for mine in passes}
    assert num_passes == ranks[0].num_micro_batches
    assert max(len(rows) for mine in passes for rows in mine) <= micro_rows
    assert sorted(row for mine in passes for rows in mine for row in rows) == list(range(num_rows))
    assert ranks[0].idle_share < 1 / num_passes, "the worst waste that the page of this room states"
    assert ranks[0].imbalance(costs) > -1e-9


def test_empty_places_lie_beside_the_cheapest_rows_and_one_a_rank() -> None:
    """Six rows on four ranks of two: the four dearest go through together, then two beside two ranks with nothing."""
    costs = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    passes = [split.of_step(costs) for split in splits(6, world_size=4, micro_rows=1)]
    assert passes == [[[0], [4]], [[1], [5]], [[2], []], [[3], []]]
    assert [split.of_step(costs) for split in splits(6, 3, 2, zero_stage=1)] == [[[0, 5]], [[1, 4]], [[2, 3]]]
    (first, *_) = splits(5, world_size=4, micro_rows=2)
    assert [split.of_step([1.0] * 5) for split in splits(5, 4, 2)] == [[[0, 4]], [[1]], [[2]], [[3]]]
    assert first.num_micro_batches == 1


def test_many_empty_places_are_said_with_what_would_leave_fewer() -> None:
    assert [splits(1024, ranks, 1)[0].idle_words for ranks in (128, 120)] == ["", ""], "5% empty: no word"
    assert splits(48, 15, 1)[0].idle_words == (
        "the 48 rows of a step leave 20% of the places empty that 15 ranks x 1 rows x 4 passes have; 12 ranks would "
        "take as many passes"
    )
    assert splits(8, 2, 3)[0].idle_words.endswith("set fewer micro_rows in the site")
    assert splits(3, 2, 1)[0].idle_words.endswith("set a num_ranks that divides the rows in the site")


def test_a_step_of_128_ranks_is_nearly_as_even_on_120() -> None:
    rng = random.Random(3)
    costs = [rng.choice([1.0, 1.1, 1.3, 1.9]) * rng.uniform(0.9, 1.1) for _ in range(1024)]
    once, passes = splits(1024, 120, 1, zero_stage=1)[0], splits(1024, 120, 1)[0]
    assert once.imbalance(costs) < 0.002, "a rank with an empty place has dearer rows"
    assert passes.idle_share == pytest.approx(56 / 1080)
    assert passes.imbalance(costs) < 2 * passes.idle_share, "the last pass is of cheap rows"


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
