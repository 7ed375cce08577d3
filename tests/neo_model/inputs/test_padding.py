"""Padded rows compute the same, and compiled layers are compiled once for rows of one length."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from neo_model.attention.interface import Backend
from neo_model.inputs.padding import pad
from neo_model.layer import compiled_regions
from tests.neo_model.tiny import lively_model, row, tiny_config


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_padding_changes_no_result(backend: Backend) -> None:
    model = lively_model(tiny_config(), backend=backend)
    batch = row([5, (4, 4), 6], [7])
    padded = pad(batch, 64)
    assert padded.num_tokens == 64
    assert pad(padded, 64) is padded
    torch.testing.assert_close(model.logits(padded)[: batch.num_tokens], model.logits(batch), atol=1e-5, rtol=1e-5)
    gradients = []
    for found in (batch, padded):
        model.zero_grad()
        total = model(found)
        total.loss.backward()
        gradients.append([total.loss.detach(), total.weight, *(parameter.grad for parameter in model.parameters())])
    for plain, after in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, after, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_steps_of_one_length_compile_once(checkpointing: bool) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = lively_model(tiny_config(num_layers=10), activation_checkpointing=checkpointing)
    plain = lively_model(tiny_config(num_layers=10))
    model.regions = compiled_regions(counter)
    for step, pieces in enumerate([([5, (4, 4), 6], [7]), ([9],), ([3, (2, 2), 1], [4, (6, 4)], [8])]):
        batch = pad(row(*pieces, seed=step), 64)
        total = model(batch)
        total.loss.backward()
        assert torch.equal(total.loss, plain(batch).loss)
        assert counter.frame_count == 2, "one compilation before and one after attention, for all layers and steps"
