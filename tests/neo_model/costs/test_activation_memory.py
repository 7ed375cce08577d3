"""A rehearsal of few layers tells what all of them hold, and holds what the network keeps."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from neo_model.attention.interface import Backend
from neo_model.costs import activation_memory as rehearsal
from neo_model.costs.activation_memory import TrainingSetup, activation_bytes
from neo_model.costs.flops import Work
from neo_model.lora import add_adapters
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.tiny import tiny_config

WORK = Work(num_tokens=512, num_pairs=20_000, num_patches=256, num_supervised=200)
DEEP = replace(tiny_config(), num_layers=11, num_prebuffer_layers=4)


def train_all(_model: NeoModel) -> None:
    """Nothing is frozen."""


def adapt(model: NeoModel) -> None:
    """Adapters of rank 4 beside the feed-forward of every layer; nothing else trains."""
    model.requires_grad_(False)
    names = [name for name, _ in model.named_modules() if name.endswith("_proj") and ".mlp." in name]
    add_adapters(model, names, rank=4, alpha=4, seed=0)


def how(choose: Callable[[NeoModel], None], checkpointing: bool, backend: Backend) -> TrainingSetup:
    return TrainingSetup(prepare=choose, dtype=torch.float32, backend=backend, activation_checkpointing=checkpointing)


@pytest.mark.parametrize("choose", [train_all, freeze_for_stage1, adapt])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_deep_stack_is_told_from_shallow_ones(choose: Callable[[NeoModel], None], checkpointing: bool) -> None:
    for backend in (Backend.SDPA, Backend.FLASH):
        asked = how(choose, checkpointing, backend)
        whole = max(rehearsal._most_bytes(DEEP, (4, 7), WORK, asked))
        assert activation_bytes(DEEP, WORK, asked) == whole


def test_twice_the_row_holds_nearly_twice() -> None:
    asked = how(train_all, False, Backend.FLASH)
    twice = Work(num_tokens=1024, num_pairs=40_000, num_patches=512, num_supervised=400)
    assert activation_bytes(DEEP, twice, asked) == pytest.approx(2 * activation_bytes(DEEP, WORK, asked), rel=0.05)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_ranks_that_share_a_row_hold_a_share_of_it(checkpointing: bool) -> None:
    """Nearly: what is exchanged lies beside what it was made from, for a while; and masks are of whole documents."""
    alone = how(train_all, checkpointing, Backend.FLASH)
    words = replace(WORK, num_patches=0, num_supervised=0)
    whole = activation_bytes(DEEP, words, alone)
    for num_shares in (2, 4):
        share = activation_bytes(DEEP, words, replace(alone, sequence_ranks=num_shares))
        assert 1 / num_shares <= share / whole < 1.3 / num_shares
    dense = [
        activation_bytes(
            DEEP, replace(WORK, num_pairs=2_000_000), replace(alone, backend=Backend.SDPA, sequence_ranks=n)
        )
        for n in (1, 2)
    ]
    assert dense[1] > 0.7 * dense[0]


def test_a_mean_row_has_the_patches_of_whole_tokens() -> None:
    asked = how(train_all, False, Backend.FLASH)
    mean = replace(WORK, num_patches=WORK.num_patches + 3)
    assert activation_bytes(DEEP, mean, asked) == activation_bytes(DEEP, WORK, asked)


def test_checkpointing_keeps_a_layer_and_the_input_of_each() -> None:
    kept = activation_bytes(DEEP, WORK, how(train_all, True, Backend.FLASH))
    deeper = replace(DEEP, num_layers=12)
    more = activation_bytes(deeper, WORK, how(train_all, True, Backend.FLASH))
    assert more - kept == WORK.num_tokens * DEEP.hidden * 4


def test_a_share_may_hold_all_pictures_of_its_row() -> None:
    """Of 64 tokens with 64 patches, 16 are of pictures, which may all lie in one of two shares."""
    row = Work(num_tokens=64, num_pairs=64 * 65 // 2, num_patches=64)
    shared = replace(how(train_all, False, Backend.FLASH), sequence_ranks=2)
    fewer = activation_bytes(DEEP, replace(row, num_patches=32), shared)
    assert activation_bytes(DEEP, row, shared) > fewer
    most = activation_bytes(DEEP, replace(row, num_patches=128), shared)
    assert activation_bytes(DEEP, replace(row, num_patches=256), shared) == most, "four patches for each token at most"
