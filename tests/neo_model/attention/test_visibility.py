"""Intervals and blocks say what the double loop and torch's own block mask say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from neo_model.attention.backends import prepare
from neo_model.attention.flex import attend_with, block_mask
from neo_model.attention.interface import Backend, BackendUnavailableError
from neo_model.attention.visibility import visible_blocks, visible_intervals
from tests.neo_model.tiny import Piece, may_see, row

CPU = torch.device("cpu")
GRIDS = st.sampled_from([(2, 2), (4, 4), (8, 6), (16, 20)])
PACKS = st.lists(st.lists(st.one_of(st.integers(1, 90), GRIDS), min_size=1, max_size=4), min_size=1, max_size=6)


@given(
    st.lists(
        st.lists(st.one_of(st.integers(1, 4), st.sampled_from([(2, 2), (4, 4)])), min_size=1), min_size=1, max_size=3
    )
)
@settings(max_examples=30, deadline=None)
def test_intervals_like_the_rule_in_words(pack: list[list[Piece]]) -> None:
    batch = row(*pack)
    first, stop = visible_intervals(batch.documents.numpy(), batch.image_spans.numpy())
    for query in range(batch.num_tokens):
        seen = [key for key in range(batch.num_tokens) if may_see(batch, query, key)]
        assert seen == list(range(first[query], stop[query]))


@given(PACKS)
@settings(max_examples=25, deadline=None)
def test_blocks_like_torchs_own(pack: list[list[Piece]]) -> None:
    batch = row(*pack)
    ours = block_mask(batch, CPU)
    theirs = create_block_mask(ours.mask_mod, None, None, batch.num_tokens, batch.num_tokens, device="cpu")
    assert torch.equal(ours.to_dense(), theirs.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    for counts, numbers in (("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices")):
        for line, count in enumerate(getattr(ours, counts)[0, 0].tolist()):
            mine, other = (getattr(mask, numbers)[0, 0, line, :count].sort().values for mask in (ours, theirs))
            assert torch.equal(mine, other)


def test_flex_attention_with_this_mask_gives_the_same() -> None:
    batch = row([50, (8, 8), 90], [(16, 20), 30], [7])
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(batch.num_tokens, *shape, generator=generator) for shape in ((4, 16), (2, 16), (2, 8)))
    with torch.no_grad():
        ours = attend_with(block_mask(batch, CPU), flex_attention)(q, k, v)
        torch.testing.assert_close(ours, prepare(Backend.SDPA, batch)(q, k, v), atol=2e-6, rtol=1e-5)


def test_a_backend_that_cannot_run_says_so_by_name() -> None:
    with pytest.raises(
        BackendUnavailableError, match="flex: FlexAttention cannot be trained on cpu; use flash or sdpa"
    ):
        prepare(Backend.FLEX, row([4]))


def test_nothing_quadratic_is_made() -> None:
    """A million tokens: the dense mask would take a terabyte."""
    documents = np.arange(0, 1_000_001, 20_000)
    first, stop = visible_intervals(documents, np.zeros((0, 2), np.int64))
    blocks = visible_blocks(first, stop, 1024)
    assert blocks.full.shape == (977, 977)
