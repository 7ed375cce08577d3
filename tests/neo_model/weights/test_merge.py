"""A pre-Buffer and a language model make one checkpoint, and come out of it again."""

from __future__ import annotations

import pytest
import torch

from neo_model.generate import Prompt, generate
from neo_model.model import NeoModel
from neo_model.weights.merge import MergeError, check_language_model, merge, take_prebuffer
from neo_model.weights.partition import parameter_shapes
from neo_model.weights.qwen3 import neo_name, qwen3_shapes
from neo_model.weights.tensor_report import TensorMismatchError
from tests.neo_model.tiny import lively_model, row, tiny_config


@pytest.mark.parametrize("tied", [True, False])
def test_merging_and_taking_are_inverse(tied: bool) -> None:
    config = tiny_config(tied=tied)
    checkpoint = dict(lively_model(config).state_dict())
    base = {name: checkpoint[neo_name(name, config)] for name in qwen3_shapes(config)}
    merged = merge(take_prebuffer(checkpoint, config), base, config)
    assert list(merged) == list(parameter_shapes(config))
    assert all(torch.equal(merged[name], checkpoint[name]) for name in checkpoint)
    assert set(take_prebuffer(checkpoint, config)) == set(checkpoint) - {neo_name(name, config) for name in base}


def test_a_prebuffer_in_fp32_and_a_language_model_in_bf16_make_one_network() -> None:
    """In the wider precision, bit for bit: it computes a loss and answers, where a mixture raised."""
    config = tiny_config()
    checkpoint = dict(lively_model(config).state_dict())
    base = {name: checkpoint[neo_name(name, config)].to(torch.bfloat16) for name in qwen3_shapes(config)}
    merged = merge(take_prebuffer(checkpoint, config), base, config)
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    assert all(torch.equal(merged[neo_name(name, config)], value.float()) for name, value in base.items())
    model = NeoModel(config)
    model.load_state_dict(merged, assign=True)
    assert model(row([5, (4, 4), 6])).loss.isfinite()
    assert len(generate(model, [Prompt(token_ids=[1, 2, 3])], max_new_tokens=2, stop_ids=[])[0]) == 2


def test_height_and_width_come_from_the_prebuffer() -> None:
    """They were trained there; the conversion would give zeros."""
    config = tiny_config()
    checkpoint = dict(lively_model(config).state_dict())
    base = {name: torch.randn(shape) for name, shape in qwen3_shapes(config).items()}
    merged = merge(take_prebuffer(checkpoint, config), base, config)
    name = "language_model.model.layers.2.self_attn.k_proj_hw.weight"
    assert merged[name] is checkpoint[name]
    assert torch.equal(
        merged["language_model.model.layers.2.mlp.up_proj.weight"], base["model.layers.1.mlp.up_proj.weight"]
    )


def test_a_prebuffer_of_another_depth_is_refused() -> None:
    config = tiny_config()
    deeper = take_prebuffer(
        dict(lively_model(tiny_config(num_prebuffer_layers=2)).state_dict()), tiny_config(num_prebuffer_layers=2)
    )
    base = {name: torch.randn(shape) for name, shape in qwen3_shapes(config).items()}
    with pytest.raises(TensorMismatchError, match=r"the pre-Buffer .*unknown: language_model\.model\.layers\.1"):
        merge(deeper, base, config)


def test_a_language_model_of_other_widths_is_refused_with_every_difference() -> None:
    config = tiny_config()
    qwen3 = {
        "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48,
        "vocab_size": 96, "num_hidden_layers": 2, "tie_word_embeddings": False, "rope_theta": 1e4,
    }  # fmt: skip
    with pytest.raises(MergeError, match=r"hidden 32 against 64; theta_t 1000000\.0 against 10000\.0"):
        check_language_model(config, qwen3)
    check_language_model(config, qwen3 | {"hidden_size": 32, "rope_theta": 1e6})


def test_a_prebuffer_without_layers_is_none() -> None:
    config = tiny_config(num_prebuffer_layers=0)
    with pytest.raises(MergeError, match="pre-Buffer of 0 layers"):
        take_prebuffer(dict(lively_model(config).state_dict()), config)
