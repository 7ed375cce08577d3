"""The weights before the first step: those of before, shared by the processes of a host, and never written to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from neo_model.config import NeoConfig
from neo_model.model import NeoModel
from neo_model.weights.released import read_tensors
from stages.training.first_weights import first_weights
from tests.neo_model.weights.drawn_whole import init_hw_with_zero_gain, load_language_model
from tests.neo_model.weights.test_qwen3 import neo_config, qwen3_folder

__all__ = ["qwen3_folder"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's cache of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def drawn_as_a_whole(folder: Path, config: NeoConfig, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    model = NeoModel(config)
    load_language_model(model, read_tensors(folder))
    init_hw_with_zero_gain(model)
    return model.state_dict()


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("first-*"))


def digest(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_they_are_those_of_a_model_drawn_as_a_whole(qwen3_folder: Path, cache: Path) -> None:
    config = neo_config(qwen3_folder, 2)
    expected = drawn_as_a_whole(qwen3_folder, config, 5)
    for _ in range(2):
        found = first_weights(qwen3_folder, config, 5)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert len(copies(cache)) == 1
    first_weights(qwen3_folder, config, 6)
    assert len(copies(cache)) == 2, "another seed, another copy"


def test_who_changes_them_changes_neither_file_nor_others(qwen3_folder: Path, cache: Path) -> None:
    config = neo_config(qwen3_folder, 1)
    mine, theirs = first_weights(qwen3_folder, config, 0), first_weights(qwen3_folder, config, 0)
    files = [*copies(cache), *qwen3_folder.glob("*.safetensors")]
    before = digest(files), {name: value.clone() for name, value in theirs.items()}
    for value in mine.values():
        value.zero_()
    assert digest(files) == before[0]
    assert all(torch.equal(value, theirs[name]) for name, value in before[1].items())


def test_another_language_model_in_the_same_place_is_another_copy(qwen3_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "llm"
    folder.mkdir()
    for path in qwen3_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = neo_config(folder, 1)
    first_weights(folder, config, 0)
    (file,) = folder.glob("*.safetensors")
    save_file({name: value + 1 for name, value in load_file(file).items()}, file, {"format": "pt"})
    found, expected = first_weights(folder, config, 0), drawn_as_a_whole(folder, config, 0)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
