"""Weights that cannot be read are named from listings and headers alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.contract import StageError
from stages.model_folders.folder import INDEX_FILE, ForeignFolder
from stages.model_folders.weights import find_weights
from stages.origins.pinning import pin_source
from tests.worlds.model_folders import write_qwen3

SHARD = "model-00002-of-00003.safetensors"


def folder_at(root: Path) -> ForeignFolder:
    return ForeignFolder(pin_source("mine", [str(root)]))


@pytest.mark.parametrize("num_shards", [1, 3])
def test_every_tensor_is_found_with_its_file(num_shards: int, tmp_path: Path) -> None:
    tensors = write_qwen3(tmp_path, num_shards=num_shards)
    found = find_weights(folder_at(tmp_path))
    assert {name: entry.shape for name, entry in found.entries.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    assert (len(found.files), set(found.file_of.values())) == (num_shards, set(found.files))
    assert (found.dtypes, found.num_parameters) == (["BF16"], sum(tensor.numel() for tensor in tensors.values()))


def with_index(change: Callable[[dict[str, str]], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        index = json.loads((root / INDEX_FILE).read_text())
        change(index["weight_map"])
        (root / INDEX_FILE).write_text(json.dumps(index))

    return spoil


def pickles_of_shards(root: Path) -> None:
    (root / INDEX_FILE).unlink()
    for file in root.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))


def only(name: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for file in [root / INDEX_FILE, *root.glob("*.safetensors")]:
            file.unlink()
        (root / name).write_bytes(b"x")

    return spoil


NORM = "model.norm.weight"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda root: (root / INDEX_FILE).unlink(), "neither model.safetensors nor .*: fetch the index too"),
    "pickles": (pickles_of_shards, r"weights in model-00001-of-00003\.bin, a pickle"),
    "adapter": (only("adapter_model.safetensors"), "holds an adapter"),
    "gguf": (only("model-q4.gguf"), r"weights in model-q4\.gguf .GGUF holds quantized weights"),
    "nothing": (only("notes.txt"), "so no weights; its files are LICENSE"),
    "a shard outside": (with_index(lambda names: names.update({NORM: "../x.safetensors"})), "no shard beside it"),
    "a pickle in the index": (with_index(lambda names: names.update({NORM: "x.bin"})), "no shard beside it"),
    "a tensor that the index forgot": (with_index(lambda names: names.pop(NORM)), f"disagree on 1 tensors: '{NORM}'"),
    "an empty index": (with_index(lambda names: names.clear()), "has no weight_map"),
    "two models": (lambda root: (root / "model.safetensors").write_bytes(b"x"), "remove what is not the model"),
    "an empty shard": (lambda root: (root / SHARD).write_bytes(b""), f"{SHARD} is no safetensors file, or is cut off"),
    "a page for a shard": (lambda root: (root / SHARD).write_bytes(b"<html>Sign in</html>" * 9), "no safetensors file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    write_qwen3(tmp_path, num_shards=3)
    spoil, message = REFUSED[case]
    spoil(tmp_path)
    with pytest.raises(StageError, match=f"source 'mine'.*{message}"):
        find_weights(folder_at(tmp_path))
