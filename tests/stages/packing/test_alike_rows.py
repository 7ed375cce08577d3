"""Rows in groups that cost alike: no row is lost, and the rows of a group differ little."""

import numpy as np
import pytest

from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.costs.flops import Work, forward_flops
from stages.packing.alike_rows import (
    PAIRS_PER_PATCH,
    PAIRS_PER_SUPERVISED,
    PAIRS_PER_TOKEN,
    alike_together,
    document_cost,
    row_costs,
)
from stages.packing.bin_packing import RowPlan, plan_rows

LENGTHS = np.array([100] * 4000 + [4000] * 60 + [1000] * 200, np.uint32)
COSTS = (LENGTHS.astype(np.float32) + 1) * LENGTHS / 2 + PAIRS_PER_TOKEN * LENGTHS.astype(np.float32)


def rows(plan: RowPlan) -> list[tuple[int, ...]]:
    edges = zip(plan.row_starts[:-1], plan.row_starts[1:], strict=True)
    return [tuple(plan.documents[start:end].tolist()) for start, end in edges]


def test_the_same_rows_come_in_another_order() -> None:
    plan = plan_rows(LENGTHS, row_tokens=4096, key="k")
    alike = alike_together(plan, COSTS, 8, "k")
    assert sorted(rows(alike)) == sorted(rows(plan)) and rows(alike) != rows(plan)
    assert rows(alike) == rows(alike_together(plan, COSTS, 8, "k")) != rows(alike_together(plan, COSTS, 8, "other"))


def test_the_rows_of_a_group_cost_alike_and_the_groups_are_shuffled() -> None:
    plan = plan_rows(LENGTHS, row_tokens=4096, key="k")
    alike = alike_together(plan, COSTS, 8, "k")
    costs = row_costs(alike, COSTS)
    groups = costs[: len(costs) // 8 * 8].reshape(-1, 8)
    spread = groups.max(axis=1) / groups.mean(axis=1) - 1
    shuffled = row_costs(plan, COSTS)
    shuffled = shuffled[: len(shuffled) // 8 * 8].reshape(-1, 8)
    assert np.median(spread) < 0.01 < np.median(shuffled.max(axis=1) / shuffled.mean(axis=1) - 1)
    means = groups.mean(axis=1)
    assert (np.diff(means) < 0).any() and (np.diff(means) > 0).any()


def test_a_row_costs_what_its_documents_do() -> None:
    plan = RowPlan(np.array([0, 1, 2]), np.array([0, 2, 3]))
    assert row_costs(plan, np.array([6, 3, 55], np.float32)).tolist() == [9, 55]


@pytest.mark.parametrize("config", [NEO_2B, NEO_9B])
def test_a_cost_is_that_of_pairs_layers_head_and_patches(config: NeoConfig) -> None:
    """As the network computes them, to some percent at both sizes; layers cost every full row the same."""
    plain, whole = (
        {"num_tokens": 0, "num_pairs": 1_000_000, "num_patches": patches, "num_supervised": supervised}
        for patches, supervised in ((0, 0), (3000, 800))
    )
    pair = forward_flops(config, Work(**plain)) / plain["num_pairs"]
    more = (forward_flops(config, Work(**whole)) - forward_flops(config, Work(**plain))) / pair
    assert document_cost(**whole) - document_cost(**plain) == pytest.approx(more, rel=0.06)
    assert document_cost(**whole) == 1_000_000 + 800 * PAIRS_PER_SUPERVISED + 3000 * PAIRS_PER_PATCH
    longer = document_cost(**{**whole, "num_tokens": 7}) - document_cost(**whole)
    assert longer == 7 * PAIRS_PER_TOKEN


@pytest.mark.parametrize("rows_together", [5, 1000])
def test_rows_that_fill_no_group_come_last(rows_together: int) -> None:
    plan = RowPlan(np.arange(7), np.arange(8))
    alike = alike_together(plan, np.array([4, 9, 2, 7, 1, 8, 3], np.float32), rows_together, "k")
    assert sorted(alike.documents.tolist()) == list(range(7))
    if rows_together == 5:
        assert set(alike.documents[5:].tolist()) == {1, 5}, "the two dearest"
