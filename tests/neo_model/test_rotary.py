"""Rotary tables and the rows that height and width take from T."""

from __future__ import annotations

import torch

from neo_model.rotary import hw_rows_from_t, rotary_tables, rotate, rotate_patches


def dot_products(positions: torch.Tensor) -> torch.Tensor:
    """Products [L, L] of one query with itself as key, rotated by each position."""
    generator = torch.Generator().manual_seed(0)
    t, hw = (
        torch.randn(1, 1, *shape, generator=generator).expand(len(positions), -1, *shape) for shape in ((8,), (2, 4))
    )
    tables = rotary_tables(positions, head_dim=8, theta_t=1e6, theta_hw=1e4, dtype=torch.float32)
    rotated = rotate(t, hw, tables)[:, 0]
    return rotated @ rotated.T


def test_scores_depend_on_the_distance_alone() -> None:
    here = torch.tensor([[0, 0, 0], [3, 1, 2], [5, 4, 4]])
    there = here + torch.tensor([[7, 11, 13]])
    torch.testing.assert_close(dot_products(here), dot_products(there), atol=1e-5, rtol=1e-5)


def test_each_axis_changes_the_scores() -> None:
    origin = torch.zeros(1, 3, dtype=torch.int64)
    for axis in range(3):
        moved = torch.cat((origin, torch.eye(3, dtype=torch.int64)[axis : axis + 1]))
        scores = dot_products(moved)
        assert (scores[0, 1] - scores[0, 0]).abs() > 1e-3, "THW"[axis]


def test_height_and_width_take_quarters_one_and_three_of_each_head() -> None:
    weight = torch.arange(2 * 8.0)[:, None].expand(16, 3)
    assert hw_rows_from_t(weight, 8)[:, 0].tolist() == [0, 1, 4, 5, 0, 1, 4, 5, 8, 9, 12, 13, 8, 9, 12, 13]


def test_patches_rotate_neighbouring_channels_by_column_then_row() -> None:
    """At theta 1 every pair turns by its position in radians: a quarter turn moves (1, 0) to (0, 1)."""
    features = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    quarter = torch.tensor([[torch.pi / 2, 0.0]])
    torch.testing.assert_close(rotate_patches(features, quarter, 1.0), torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
    torch.testing.assert_close(rotate_patches(features, quarter.flip(1), 1.0), torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
