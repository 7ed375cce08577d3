"""What a row is said to cost is what torch counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neo_model import model as model_module
from neo_model.attention.visibility import visible_intervals
from neo_model.config import PATCH_VALUES
from neo_model.costs.flops import Work, forward_flops, training_flops, visible_pairs
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.attention.test_backends import PACKS
from tests.neo_model.tiny import Piece, lively_model, row, tiny_config


@given(PACKS)
def test_visible_pairs_are_those_of_the_mask(pack: list[list[Piece]]) -> None:
    batch = row(*pack)
    first, stop = visible_intervals(batch.documents.numpy(), batch.image_spans.numpy())
    images = (batch.image_spans[:, 1] - batch.image_spans[:, 0]).tolist()
    assert visible_pairs(batch.documents.diff().tolist(), images) == (stop - first).sum()


@pytest.mark.parametrize("tied", [False, True])
def test_products_are_counted_as_torch_counts_them(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention aside, of which kernels also compute what nobody sees."""

    def no_attention(*_: object) -> object:
        return lambda q, k, v: v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)

    monkeypatch.setattr(model_module, "prepare", no_attention)
    config = tiny_config(tied=tied)
    batch = row([5, (4, 6), 7], [(8, 2), 3])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits: Tensor = lively_model(config).logits(batch)
    work = Work(
        num_tokens=batch.num_tokens, num_pairs=0, num_patches=len(batch.patches), num_supervised=logits.shape[0]
    )
    assert counter.get_total_flops() == forward_flops(config, work)


def test_attention_costs_for_each_visible_pair() -> None:
    config = tiny_config()
    none, one = (forward_flops(config, Work(num_tokens=9, num_pairs=pairs, num_patches=0)) for pairs in (0, 1))
    assert one - none == 2 * config.num_layers * config.num_heads * (2 * config.head_dim + config.head_dim)


@pytest.mark.parametrize("llm_frozen", [False, True])
def test_a_training_step_is_counted_as_torch_counts_it(llm_frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention aside. We count the gradient of the pixels, which nobody takes; torch not the in-place `addmm_`."""

    def no_attention(*_: object) -> object:
        return lambda q, k, v: v.repeat_interleave(q.shape[1] // v.shape[1], dim=1) + 0 * (q.sum() + k.sum())

    monkeypatch.setattr(model_module, "prepare", no_attention)
    config = tiny_config(tied=False)
    batch, model = row([5, (4, 6), 7], [(8, 2), 3]), lively_model(config)
    if llm_frozen:
        freeze_for_stage1(model)
    with FlopCounterMode(display=False) as counter:
        model(batch).loss.backward()
    work = Work(
        num_tokens=batch.num_tokens,
        num_pairs=0,
        num_patches=len(batch.patches),
        num_supervised=len(batch.supervised_index),
    )
    pixels = 2 * work.num_patches * config.patch_hidden * PATCH_VALUES
    in_place = 0 if llm_frozen else 2 * work.num_supervised * config.hidden * config.vocab_size
    counted = counter.get_total_flops() + pixels + in_place
    assert counted == training_flops(config, work, llm_frozen=llm_frozen)
