"""Released folders: round trips to the byte, one error for all faults, nothing that runs code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neo_model.inputs.conversation import SPECIAL_TOKENS, add_special_tokens
from neo_model.model import NeoModel
from neo_model.weights.architectures import OtherArchitectureError
from neo_model.weights.released import (
    ReleasedFolderError,
    inherited_sidecars,
    load_model,
    read_config,
    read_sidecars,
    read_tensors,
    tokenizer_sidecars,
    write_released,
)
from neo_model.weights.tensor_report import TensorMismatchError
from tests.neo_model.tiny import lively_model, row, tiny_config
from tests.worlds.model_folders import write_look_alike

SIDECARS = {"tokenizer.json": b'{"a": 1}', "generation_config.json": b"{}"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "written"
    write_released(folder, tiny_config(), lively_model(tiny_config()).state_dict(), SIDECARS, max_shard_bytes=60_000)
    return folder


def test_a_round_trip_changes_no_byte(written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_released(again, read_config(written), read_tensors(written), read_sidecars(written), max_shard_bytes=60_000)
    assert files_of(again) == files_of(written)
    assert len(list(written.glob("*.safetensors"))) > 2


def test_the_index_names_every_tensor_and_their_size(written: Path) -> None:
    index = json.loads((written / "model.safetensors.index.json").read_text())
    tensors = lively_model(tiny_config()).state_dict()
    assert set(index["weight_map"]) == set(tensors)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_model_computes_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    model = lively_model(tiny_config(tied=True)).to(dtype)
    write_released(tmp_path, model.config, model.state_dict(), {})
    loaded = load_model(tmp_path)
    batch = row([3, (4, 4), 5]).to("cpu", dtype)
    assert torch.equal(loaded(batch).loss, model(batch).loss)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert load_model(tmp_path, dtype=torch.bfloat16).language_model.model.norm.weight.dtype == torch.bfloat16


def test_a_foreign_config_is_kept_as_it_is(written: Path, tmp_path: Path) -> None:
    config = json.loads((written / "config.json").read_text()) | {"torch_dtype": "float32", "template": "neo1_0"}
    config["vision_config"]["downsample_ratio"] = [0.5]
    (written / "config.json").write_text(json.dumps(config))
    again = tmp_path / "again"
    write_released(again, read_config(written), read_tensors(written), read_sidecars(written))
    assert (again / "config.json").read_bytes() == (written / "config.json").read_bytes()
    other = tmp_path / "other"
    resized = read_config(written).with_pixels(min_pixels_px=1024, max_pixels_px=4096)
    write_released(other, resized, read_tensors(written), read_sidecars(written))
    assert read_config(other) == resized


def test_all_faults_are_in_one_error(tmp_path: Path) -> None:
    tensors = dict(NeoModel(tiny_config()).state_dict())
    tensors["language_model.model.norm.weight"] = torch.ones(3)
    tensors["language_model.model.surprise"] = torch.ones(1)
    del tensors["language_model.lm_head.weight"]
    with pytest.raises(TensorMismatchError) as caught:
        write_released(tmp_path / "new", tiny_config(), tensors, {})
    for word in (
        "1 missing: language_model.lm_head.weight",
        "1 unknown: language_model.model.surprise",
        "norm.weight is (3,)",
    ):
        assert word in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_pickles_are_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny_config().to_released()))
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(ReleasedFolderError, match=r"pytorch_model\.bin: pickles can run code .* weights_only"):
        load_model(tmp_path)


def test_damage_is_named(written: Path) -> None:
    shard = sorted(written.glob("*.safetensors"))[1]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReleasedFolderError, match=f"{shard.name} is damaged"):
        read_tensors(written)
    shard.unlink()
    with pytest.raises(ReleasedFolderError, match=f"{shard.name} is missing"):
        read_tensors(written)


@pytest.mark.parametrize("target", ["../elsewhere.safetensors", "/etc/passwd", "model.bin"])
def test_an_index_reaches_nothing_outside_its_folder(written: Path, target: str) -> None:
    file = written / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["language_model.lm_head.weight"] = target
    file.write_text(json.dumps(index))
    with pytest.raises(ReleasedFolderError, match="which is no shard beside it"):
        read_tensors(written)


def test_an_index_that_lies_is_noticed(written: Path) -> None:
    file = written / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    del index["weight_map"]["language_model.lm_head.weight"]
    file.write_text(json.dumps(index))
    with pytest.raises(ReleasedFolderError, match="disagree on language_model.lm_head.weight"):
        read_tensors(written)


def test_transformers_reads_the_tokenizer_that_is_written(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoTokenizer

    alphabet = {char: number for number, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    add_special_tokens(tokenizer)
    config = tiny_config(vocab_size=300)
    write_released(tmp_path, config, NeoModel(config).state_dict(), tokenizer_sidecars(tokenizer))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "<|im_start|>user\n<img><IMG_CONTEXT></img>Hi!<|im_end|>\n"
    assert [theirs.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == [
        tokenizer.token_to_id(token) for token in SPECIAL_TOKENS
    ]
    tokenizer.encode_special_tokens = False
    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.eos_token == "<|im_end|>"
    assert read_sidecars(tmp_path)["tokenizer.json"] == (tmp_path / "tokenizer.json").read_bytes()


def test_a_look_alike_is_refused_by_name_before_it_is_read(tmp_path: Path) -> None:
    write_look_alike(tmp_path)
    with pytest.raises(OtherArchitectureError, match="SenseNova-U1"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("settings", "template"),
    [
        ({}, None),
        ({"chat_template": "{{ messages }}"}, "{{ messages }}"),
        ({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]}, "y"),
    ],
)
def test_what_a_checkpoint_inherits_from_its_language_model(
    settings: dict, template: str | None, tmp_path: Path
) -> None:
    for name in ("generation_config.json", "LICENSE", "Notice.txt", "README.md", "config.json", "license.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    sidecars = inherited_sidecars(tmp_path)
    expected = {"generation_config.json", "LICENSE", "Notice.txt"}
    assert sidecars.keys() == (expected | {"chat_template.jinja"} if template else expected)
    assert sidecars.get("chat_template.jinja", b"").decode() == (template or "")
    (tmp_path / "chat_template.jinja").write_text("a file of its own")
    assert inherited_sidecars(tmp_path)["chat_template.jinja"] == b"a file of its own"


def stated_config(folder: Path) -> dict[str, object]:
    stated: dict[str, object] = json.loads((folder / "config.json").read_text())
    return stated


def test_the_configuration_states_the_precision_of_the_weights(written: Path, tmp_path: Path) -> None:
    """Also where training rounded them, and where a foreign configuration comes with them, whose fields are kept."""
    assert stated_config(written)["torch_dtype"] == "float32"
    rounded = {name: tensor.bfloat16() for name, tensor in read_tensors(written).items()}
    foreign = json.dumps({**stated_config(written), "torch_dtype": "float32", "transformers_version": "4.51"}).encode()
    write_released(tmp_path / "rounded", read_config(written), rounded, {"config.json": foreign})
    expected = {**json.loads(foreign), "torch_dtype": "bfloat16"}
    assert stated_config(tmp_path / "rounded") == expected
    newer = json.dumps({"dtype": "bfloat16", **{k: v for k, v in expected.items() if k != "torch_dtype"}}).encode()
    for number, kept in enumerate((newer, json.dumps(read_config(written).to_released()).encode())):
        write_released(tmp_path / str(number), read_config(written), rounded, {"config.json": kept})
        assert (tmp_path / str(number) / "config.json").read_bytes() == kept


def test_a_folder_of_two_precisions_is_loaded_in_the_wider(written: Path, tmp_path: Path) -> None:
    tensors = {
        name: tensor.bfloat16() if "layers.2" in name else tensor for name, tensor in read_tensors(written).items()
    }
    write_released(tmp_path / "mixed", read_config(written), tensors, {})
    loaded = load_model(tmp_path / "mixed")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert loaded(row([5, (4, 4), 6])).loss.isfinite()
