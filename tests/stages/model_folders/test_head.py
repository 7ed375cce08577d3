"""Two tensors are compared to the bit as streams, across files and chunks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stages.model_folders import head
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.head import same_values
from stages.model_folders.weights import find_weights
from stages.origins.pinning import pin_source
from tests.worlds.model_folders import write_weights

VALUES = torch.arange(999, dtype=torch.float32).reshape(9, 111)


def changed(row: int) -> torch.Tensor:
    other = VALUES.clone()
    other[row, -1] += 1
    return other


@pytest.mark.parametrize("num_shards", [1, 2])
@pytest.mark.parametrize(
    ("other", "are_same"),
    [
        (VALUES.clone(), True),
        (changed(0), False),
        (changed(8), False),
        (VALUES.clone().reshape(111, 9), False),
        (VALUES.to(torch.bfloat16), False),
    ],
)
def test_tensors_are_compared(
    other: torch.Tensor, are_same: bool, num_shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "CHUNK_BYTES", 1000)
    write_weights(tmp_path, {"table": VALUES, "head": other}, num_shards)
    folder = ForeignFolder(pin_source("mine", [str(tmp_path)]))
    assert same_values(folder, find_weights(folder), "head", "table") is are_same


def test_the_sign_of_zero_and_nan_are_bits(tmp_path: Path) -> None:
    same = torch.tensor([float("nan"), 0.0])
    save_file({"a": same, "b": same.clone(), "c": torch.tensor([float("nan"), -0.0])}, tmp_path / "model.safetensors")
    folder = ForeignFolder(pin_source("mine", [str(tmp_path)]))
    weights = find_weights(folder)
    assert (same_values(folder, weights, "a", "b"), same_values(folder, weights, "a", "c")) == (True, False)
