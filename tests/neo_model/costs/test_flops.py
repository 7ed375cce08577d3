"""What a row is said to cost is what torch counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neo_model import model as model_module
from neo_model.attention.visibility import visible_intervals
from neo_model.config import PATCH_VALUES
from neo_model.costs.flops import (
    Trained,
    Work,
    everything,
    forward_flops,
    recomputed_flops,
    training_flops,
    visible_pairs,
)
from neo_model.costs.trained import trained_of
from neo_model.lora import add_adapters
from neo_model.model import NeoModel
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


def train_everything(_model: NeoModel) -> None:
    """Nothing is frozen."""


def adapt(model: NeoModel) -> None:
    """Adapters of rank 3 beside two maps of the last two layers, and nothing else trains."""
    model.requires_grad_(False)
    names = [
        f"language_model.model.layers.{n}.{name}" for n in (1, 2) for name in ("self_attn.v_proj", "mlp.down_proj")
    ]
    add_adapters(model, names, rank=3, alpha=6, seed=0)


def train_top(model: NeoModel) -> None:
    """The last layer trains, and the output head."""
    model.requires_grad_(False)
    model.layers[-1].requires_grad_(True)
    model.language_model.lm_head.requires_grad_(True)


@pytest.mark.parametrize("choose", [train_everything, freeze_for_stage1, adapt, train_top])
def test_a_training_step_is_counted_as_torch_counts_it(
    choose: Callable[[NeoModel], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention aside, and the lowest layer, of which we count the gradient of what it reads, which nobody takes.

    We count that of the pixels as well; torch does not count the in-place `addmm_`.
    """

    def no_attention(*_: object) -> object:
        return lambda q, k, v: v.repeat_interleave(q.shape[1] // v.shape[1], dim=1) + 0 * (q.sum() + k.sum())

    monkeypatch.setattr(model_module, "prepare", no_attention)
    config = tiny_config(tied=False)
    batch, model = row([5, (4, 6), 7], [(8, 2), 3]), lively_model(config)
    choose(model)
    trained = trained_of(model)
    with FlopCounterMode(display=False) as counter:
        model(batch).loss.backward()
    work = Work(
        num_tokens=batch.num_tokens,
        num_pairs=0,
        num_patches=len(batch.patches),
        num_supervised=len(batch.supervised_index),
    )
    pixels = 2 * work.num_patches * config.patch_hidden * PATCH_VALUES if trained.vision else 0
    in_place = 2 * work.num_supervised * config.hidden * config.vocab_size if trained.head else 0
    lowest = recomputed_flops(config, work, trained) / max(1, trained.num_layers) if not trained.vision else 0.0
    told = training_flops(config, work, trained)
    assert told - lowest <= counter.get_total_flops() + pixels + in_place <= told
    if trained.vision:
        assert counter.get_total_flops() + pixels + in_place == told


def test_what_is_said_to_train_is_what_a_model_trains() -> None:
    config = tiny_config(tied=False)
    assert trained_of(lively_model(config)) == everything(config)
    model = lively_model(config)
    adapt(model)
    heads, wide = config.num_kv_heads * config.head_dim, config.hidden
    values = 2 * 3 * (wide + heads + config.ffn + wide)
    assert trained_of(model) == Trained(
        layer_values=values, adapter_values=values, num_layers=2, vision=False, head=False
    )


def test_recomputing_costs_a_forward_pass_of_the_layers_that_train() -> None:
    config, work = tiny_config(), Work(num_tokens=50, num_pairs=400, num_patches=0)
    model = lively_model(config)
    assert recomputed_flops(config, work, trained_of(model)) == forward_flops(config, work)
    model.requires_grad_(False)
    model.layers[-1].requires_grad_(True)
    assert recomputed_flops(config, work, trained_of(model)) == forward_flops(config, work) / config.num_layers
