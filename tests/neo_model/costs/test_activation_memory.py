"""A rehearsal of few layers tells what all of them hold, and holds what the network keeps."""

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
import torch

from neo_model.attention.interface import Backend
from neo_model.config import NeoConfig
from neo_model.costs import activation_memory as rehearsal
from neo_model.costs.activation_memory import TrainingSetup, activation_bytes
from neo_model.costs.flops import Work
from neo_model.weights.partition import parameter_shapes, stage1_trainable
from tests.neo_model.tiny import tiny_config

WORK = Work(num_tokens=512, num_pairs=20_000, num_patches=256, num_supervised=200)
DEEP = replace(tiny_config(), num_layers=11, num_prebuffer_layers=4)


def how(choose: Callable[[NeoConfig], Collection[str]], checkpointing: bool, backend: Backend) -> TrainingSetup:
    return TrainingSetup(trainable=choose, dtype=torch.float32, backend=backend, activation_checkpointing=checkpointing)


@pytest.mark.parametrize("choose", [parameter_shapes, stage1_trainable])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_deep_stack_is_told_from_shallow_ones(
    choose: Callable[[NeoConfig], Collection[str]], checkpointing: bool
) -> None:
    for backend in (Backend.SDPA, Backend.FLASH):
        asked = how(choose, checkpointing, backend)
        whole = max(rehearsal._most_bytes(DEEP, (4, 7), WORK, asked))
        assert activation_bytes(DEEP, WORK, asked) == whole


def test_twice_the_row_holds_nearly_twice() -> None:
    asked = how(parameter_shapes, False, Backend.FLASH)
    twice = Work(num_tokens=1024, num_pairs=40_000, num_patches=512, num_supervised=400)
    assert activation_bytes(DEEP, twice, asked) == pytest.approx(2 * activation_bytes(DEEP, WORK, asked), rel=0.05)


def test_a_mean_row_has_the_patches_of_whole_tokens() -> None:
    asked = how(parameter_shapes, False, Backend.FLASH)
    mean = replace(WORK, num_patches=WORK.num_patches + 3)
    assert activation_bytes(DEEP, mean, asked) == activation_bytes(DEEP, WORK, asked)


def test_checkpointing_keeps_a_layer_and_the_input_of_each() -> None:
    kept = activation_bytes(DEEP, WORK, how(parameter_shapes, True, Backend.FLASH))
    deeper = replace(DEEP, num_layers=12)
    more = activation_bytes(deeper, WORK, how(parameter_shapes, True, Backend.FLASH))
    assert more - kept == WORK.num_tokens * DEEP.hidden * 4
