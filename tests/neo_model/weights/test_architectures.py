"""Another network is refused by name, with every sign of it, from its configuration and shapes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neo_model.weights.architectures import OtherArchitectureError, check_is_neo, check_is_qwen3
from neo_model.weights.headers import TensorEntry, read_header
from tests.worlds.model_folders import (
    Form,
    neo_config,
    neo_json,
    of_transformers_5,
    qwen3_json,
    write_look_alike,
    write_neo,
    write_qwen3,
)

GOLDEN = Path(__file__).parents[2] / "golden_model"


def entry(*shape: int, dtype: str = "BF16") -> TensorEntry:
    return TensorEntry(dtype, shape, 0, 0)


QWEN3 = {"model.embed_tokens.weight": entry(320, 32), "model.layers.0.self_attn.q_proj.weight": entry(64, 32)}
NEO = {"language_model.model.layers.0.self_attn.q_proj_hw.weight": entry(64, 32)}


def headers(folder: Path) -> dict[str, TensorEntry]:
    file = folder / "model.safetensors"
    with file.open("rb") as opened:
        return read_header(opened, file.stat().st_size, file.name)


def test_a_qwen3_of_either_transformers_is_one(tmp_path: Path) -> None:
    write_qwen3(tmp_path)
    for config in (qwen3_json(), of_transformers_5(qwen3_json())):
        check_is_qwen3(config, headers(tmp_path))


@pytest.mark.parametrize("case", ["base_untied", "tied_small"])
def test_recorded_models_of_the_released_code_are_neos(case: str) -> None:
    check_is_neo(json.loads((GOLDEN / case / "config.json").read_text()), headers(GOLDEN / case))


@pytest.mark.parametrize("case", ["untied", "tied"])
def test_recorded_language_models_are_qwen3s(case: str) -> None:
    folder = GOLDEN / "convert" / case / "src_qwen3"
    check_is_qwen3(json.loads((folder / "config.json").read_text()), headers(folder))


@pytest.mark.parametrize("form", ["train_kit", "hub", "internvl"])
def test_a_neo_of_either_kit_is_one(form: Form, tmp_path: Path) -> None:
    write_neo(tmp_path, form=form)
    check_is_neo(json.loads((tmp_path / "config.json").read_text()), headers(tmp_path))


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({"model_type": "qwen3_moe"}, {}, "'qwen3_moe', a mixture of experts"),
        ({"model_type": "neo_chat"}, {}, "'neo_chat', a NEO checkpoint: import_checkpoint"),
        ({"model_type": "llama"}, {}, "model_type is 'llama'"),
        ({"model_type": None}, {}, "model_type is None"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, {}, "and not Qwen3ForCausalLM"),
        ({"quantization_config": {"quant_method": "gptq"}}, {}, r"quantized \(quantization_config 'gptq'\)"),
        ({}, {"model.layers.0.mlp.experts.0.up_proj.weight": entry(1)}, "it has experts"),
        ({}, {"model.layers.0.self_attn.q_proj.bias": entry(64)}, "attention has biases"),
        ({}, {"model.norm.weight": entry(32, dtype="F8_E4M3")}, "1 tensors are F8_E4M3"),
    ],
)
def test_what_is_no_qwen3_is_named(changes: dict[str, Any], tensors: dict[str, TensorEntry], message: str) -> None:
    with pytest.raises(OtherArchitectureError, match=message):
        check_is_qwen3(qwen3_json(**changes), QWEN3 | tensors)


def test_a_model_saved_without_its_head_is_named() -> None:
    with pytest.raises(
        OtherArchitectureError, match=r"not named `model\.…` \(embed_tokens\.weight\).*embedding models"
    ):
        check_is_qwen3(qwen3_json(), {"embed_tokens.weight": entry(320, 32), "norm.weight": entry(32)})


def test_all_signs_are_in_one_error() -> None:
    config = qwen3_json(model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"])
    with pytest.raises(OtherArchitectureError, match="qwen3_moe.*; architectures is.*; it has experts"):
        check_is_qwen3(config, QWEN3 | {"model.layers.0.mlp.gate.weight": entry(1)})


def test_the_look_alike_is_told_by_its_shapes(tmp_path: Path) -> None:
    write_look_alike(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "neo_chat"
    with pytest.raises(
        OtherArchitectureError, match=r"SenseNova-U1.*64 \+ 32 \+ 32.*q_norm is \(8,\), there is .*_norm_hw"
    ):
        check_is_neo(config, headers(tmp_path))


def test_a_head_that_is_split_inside_is_the_look_alikes() -> None:
    norm = {"language_model.model.layers.0.self_attn.q_norm.weight": entry(8)}
    with pytest.raises(OtherArchitectureError, match=r"SenseNova-U1.*q_norm is \(8,\)\)"):
        check_is_neo(neo_json(neo_config(), "hub"), NEO | norm)


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({}, {"vision_model.encoder.layers.0.norm1.weight": entry(8)}, "it is an InternVL"),
        ({"model_type": "qwen3"}, {}, "'qwen3', a plain language model: fetch_llm"),
        ({"llm_config": None}, {}, "no llm_config"),
        ({"llm_config": {"hidden_size": 32}}, {}, "no rope_theta: transformers would compute with 10,000"),
        ({"quantization_config": {"bits": 4}}, {}, r"quantized \(quantization_config\)"),
    ],
)
def test_what_is_no_neo_is_named(changes: dict[str, Any], tensors: dict[str, TensorEntry], message: str) -> None:
    with pytest.raises(OtherArchitectureError, match=message):
        check_is_neo(neo_json(neo_config(), "hub") | changes, NEO | tensors)


def test_a_language_model_without_height_and_width_is_no_neo() -> None:
    with pytest.raises(OtherArchitectureError, match="no layer has height and width queries"):
        check_is_neo(neo_json(neo_config(), "hub"), QWEN3)
