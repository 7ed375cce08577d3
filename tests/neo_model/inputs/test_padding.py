"""Padded rows compute the same, and compiled layers are compiled once for rows of one length."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from neo_model.attention.flex import attend_with, block_mask, compiled_flex
from neo_model.attention.interface import Backend
from neo_model.inputs.batch import Batch
from neo_model.inputs.padding import grid_step, pad, pad_to_grid
from neo_model.layer import compiled_regions
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.tiny import lively_model, row, tiny_config

LENGTHS_OF_MANY_ROWS = (100, 130, 300, 500, 520, 650, 800, 900, 1000, 1100, 1200)
"""Tokens of rows with ten lengths on the grid, two more than torch compiles a function for by itself."""


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_padding_changes_no_result(backend: Backend) -> None:
    model = lively_model(tiny_config(), backend=backend)
    batch = row([5, (4, 4), 6], [7])
    padded = pad(batch, 64)
    assert padded.num_tokens == 64
    assert pad(padded, 64) is padded
    torch.testing.assert_close(model.logits(padded)[: batch.num_tokens], model.logits(batch), atol=1e-5, rtol=1e-5)
    gradients = [loss_and_gradients(model, found) for found in (batch, padded, pad_to_grid(batch))]
    for after in gradients[1:]:
        for one, other in zip(gradients[0], after, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def loss_and_gradients(model: NeoModel, batch: Batch) -> list[torch.Tensor]:
    model.zero_grad()
    total = model(batch)
    total.loss.backward()
    return [total.loss.detach(), total.weight, *(p.grad for p in model.parameters() if p.grad is not None)]


def test_lengths_of_the_grid() -> None:
    def padded(num_tokens: int) -> int:
        return num_tokens + -num_tokens % grid_step(num_tokens)

    expected = {1: 128, 128: 128, 129: 256, 1024: 1024, 1025: 1152, 2049: 2304, 16_300: 16_384, 16_385: 18_432}
    assert {length: padded(length) for length in expected} == expected
    lengths = [padded(length) for length in range(1, 2**16 + 1)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 56
    assert all(after - before <= max(127, before / 8) for before, after in enumerate(lengths, start=1))
    assert {padded(length) for length in set(lengths)} == set(lengths)
    assert padded(36_864) == 36_864, "a length of the published recipes is on the grid"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_steps_of_one_length_compile_once(checkpointing: bool) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = lively_model(tiny_config(num_layers=10), activation_checkpointing=checkpointing)
    plain = lively_model(tiny_config(num_layers=10))
    model.regions = compiled_regions(counter)
    for step, pieces in enumerate([([5, (4, 4), 6], [7]), ([9],), ([3, (2, 2), 1], [4, (6, 4)], [8])]):
        batch = pad_to_grid(row(*pieces, seed=step))
        total = model(batch)
        total.loss.backward()
        assert torch.equal(total.loss, plain(batch).loss)
        assert counter.frame_count == 2, "one compilation before and one after attention, for all layers and steps"


@pytest.mark.long
def test_many_lengths_and_frozen_layers_compile_once_each() -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = lively_model(tiny_config(num_layers=4))
    freeze_for_stage1(model)
    model.regions = compiled_regions(counter)
    for _ in range(2):
        lengths = set()
        for number, num_tokens in enumerate(LENGTHS_OF_MANY_ROWS):
            batch = pad_to_grid(row([(2, 2), num_tokens], seed=number))
            lengths.add(batch.num_tokens)
            model(batch).loss.backward()
        assert len(lengths) == 10
        assert counter.frame_count <= 2 * 2 * len(lengths), "two regions, of trained and of frozen layers"


def test_layers_are_compiled_in_training_alone() -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = lively_model(tiny_config()).eval()
    model.regions = compiled_regions(counter)
    assert model.is_compiled
    model(row([9]))
    assert counter.frame_count == 0


def test_flex_attention_compiles_once_a_length() -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    flex = compiled_flex(counter)
    cpu, lengths = torch.device("cpu"), set[int]()
    for number, num_tokens in enumerate((100, 90, 120, 200, 250, 140)):
        batch = pad_to_grid(row([(4, 4), num_tokens], [3], seed=number))
        q, k = (torch.randn(batch.num_tokens, heads, 32) for heads in (4, 2))
        out = attend_with(block_mask(batch, cpu), flex)(q, k, torch.randn(batch.num_tokens, 2, 16))
        assert out.shape == (batch.num_tokens, 4, 16)
        lengths.add(batch.num_tokens)
    assert counter.frame_count == len(lengths) == 3
