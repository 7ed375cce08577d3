"""A folder of the published 2B size: shapes, shards and index as the hub has them, without a byte of weights.

Tensors are of the meta device, files have a hole where their weights would be.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neo_model.config import NEO_2B, NeoConfig
from neo_model.hub.configuration_neo_chat import NEOChatConfig
from neo_model.hub.modeling_neo_chat import NEOChatModel
from neo_model.weights.architectures import check_is_neo
from neo_model.weights.headers import LENGTH_BYTES
from neo_model.weights.partition import parameter_shapes
from neo_model.weights.released import (
    EMBEDDING,
    HEAD,
    INDEX_FILE,
    MAX_SHARD_BYTES,
    cut_into_shards,
    index_of,
    read_headers,
)
from neo_model.weights.tensor_report import check_tensors
from tests.worlds.model_folders import neo_json

UNTIED = replace(NEO_2B, tied=False)


def on_meta(config: NeoConfig) -> dict[str, torch.Tensor]:
    shapes = parameter_shapes(config)
    return {name: torch.empty(shape, dtype=torch.bfloat16, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("config", "size_bytes", "num_tensors"),
    [(NEO_2B, 5_171_000_000, 4 + 40 * 17 + 2), (UNTIED, 5_793_000_000, 4 + 40 * 17 + 3)],
)
def test_sizes_and_shards_are_those_of_the_hub(config: NeoConfig, size_bytes: int, num_tensors: int) -> None:
    """5.171 GB where the head is the table; 5.793 GB with a head of its own, as the published folders store it."""
    tensors = on_meta(config)
    shards = cut_into_shards(tensors, MAX_SHARD_BYTES)
    index = index_of(shards)
    assert [*shards] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert round(index["metadata"]["total_size"], -6) == size_bytes
    assert len(index["weight_map"]) == len(tensors) == num_tensors
    assert all(sum(one.nbytes for one in shard.values()) <= MAX_SHARD_BYTES for shard in shards.values())
    assert Counter(index["weight_map"].values()) == {file: len(shard) for file, shard in shards.items()}
    assert (HEAD in tensors, tensors[EMBEDDING].shape) == (not config.tied, (151_936, 2048))


@pytest.mark.parametrize("form", ["train_kit", "hub"])
def test_transformers_builds_the_same_tensors_from_its_config(form: str) -> None:
    """The hub's form says neither the depth of the pre-Buffer nor the image tokens; a published size needs neither."""
    stated = neo_json(NEO_2B, form)
    with torch.device("meta"):
        model = NEOChatModel(NEOChatConfig(**stated))
    tensors = dict(model.named_parameters())
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == parameter_shapes(NEO_2B)
    assert (model.config.num_hidden_layers, model.network.config) == (40, NEO_2B)
    assert model.device.type == "meta"


def test_a_folder_of_that_size_is_judged_by_its_headers_alone(tmp_path: Path) -> None:
    """A gap stands for 5.8 GB of weights: nothing of them is read."""
    shards = cut_into_shards(on_meta(UNTIED), MAX_SHARD_BYTES)
    for file, shard in shards.items():
        header, end = {}, 0
        for name, tensor in shard.items():
            header[name] = {
                "dtype": "BF16", "shape": [*tensor.shape], "data_offsets": [end, end := end + tensor.nbytes]
            }  # fmt: skip
        spelled = json.dumps(header).encode()
        with (tmp_path / file).open("wb") as written:
            written.write(len(spelled).to_bytes(LENGTH_BYTES, "little") + spelled)
            written.truncate(LENGTH_BYTES + len(spelled) + end)
    (tmp_path / INDEX_FILE).write_text(json.dumps(index_of(shards)))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 5_793_000_000
    assert sum(file.stat().st_blocks * 512 for file in tmp_path.iterdir()) < 10_000_000, "holes take no room"
    entries = read_headers(tmp_path)
    check_is_neo(neo_json(UNTIED, "hub"), entries)
    check_tensors(entries, parameter_shapes(UNTIED), what="the folder")
