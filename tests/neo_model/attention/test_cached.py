"""Attention to a cache is that of the mask, in whatever blocks the queries are taken."""

from __future__ import annotations

import pytest
import torch

from neo_model.attention import cached
from neo_model.attention.cached import attend_to_cache


def drawn(num_new: int, num_slots: int, num_rows: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(num_rows, num_new, 6, 16), (num_rows, num_slots, 2, 16), (num_rows, num_slots, 2, 8)]
    return [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]


def slow(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    keys, values = (x.repeat_interleave(3, dim=2) for x in (keys, values))
    scores = torch.einsum("bnhe,bshe->bhns", q, keys) / 8**0.5
    shares = scores.masked_fill(~visible[:, None], float("-inf")).softmax(dim=-1)
    return torch.einsum("bhns,bshd->bnhd", shares, values)


@pytest.mark.parametrize("max_scores", [2**26, 6 * 11 * 2, 1])
def test_heads_share_keys_and_blocks_change_nothing(max_scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "MAX_SCORES", max_scores)
    inputs = drawn(5, 11)
    visible = torch.arange(11) < torch.tensor([7, 10, 10, 10, 11])[:, None]
    torch.testing.assert_close(attend_to_cache(*inputs, visible[None]), slow(*inputs, visible[None]))


def test_each_row_of_a_batch_has_its_own_slots() -> None:
    inputs = drawn(1, 11, num_rows=3)
    visible = torch.arange(11) >= torch.tensor([0, 4, 10])[:, None, None]
    torch.testing.assert_close(attend_to_cache(*inputs, visible), slow(*inputs, visible))
