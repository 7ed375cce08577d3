"""The plain version that benchmarks compare with is NEO too: it passes the same recorded numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.plain_neo import plain_logits, plain_loss
from neo_model.reference import read_batch
from neo_model.weights.released import read_config, read_tensors

GOLDEN = Path(__file__).parents[1] / "golden_model"


@pytest.mark.parametrize("case", ["base_untied", "tied_small"])
def test_the_released_numbers(case: str) -> None:
    folder = GOLDEN / case
    config, outputs = read_config(folder), load_file(folder / "outputs.safetensors")
    parameters = {name: tensor.requires_grad_() for name, tensor in read_tensors(folder).items()}
    inputs = {name: tensor.numpy() for name, tensor in load_file(folder / "inputs.safetensors").items()}
    batch = read_batch(inputs, config)
    assert batch is not None
    with torch.no_grad():
        torch.testing.assert_close(plain_logits(parameters, config, batch), outputs["logits"], atol=5e-5, rtol=0)
    total = plain_loss(parameters, config, batch)
    loss = total.loss / total.weight
    torch.testing.assert_close(loss.detach().reshape(1), outputs["loss"], atol=5e-6, rtol=0)
    loss.backward()
    for name, gradient in load_file(folder / "grads.safetensors").items():
        found = parameters[name].grad
        assert found is not None
        assert (found - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name
