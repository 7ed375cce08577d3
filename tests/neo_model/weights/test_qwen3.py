"""A plain Qwen3 made by transformers keeps its text logits inside NEO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neo_model.config import NeoConfig
from neo_model.inputs.batch import Document, pack
from neo_model.model import NeoModel
from neo_model.weights.qwen3 import (
    from_qwen3,
    language_model_differences,
    qwen3_shapes,
)
from neo_model.weights.released import read_config_json, read_tensors
from neo_model.weights.tensor_report import TensorMismatchError
from tests.neo_model.tiny import tiny_config
from tests.neo_model.weights.drawn_whole import load_language_model


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def qwen3_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=request.param, initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("qwen3")
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def neo_config(folder: Path, num_prebuffer_layers: int) -> NeoConfig:
    return NeoConfig.from_qwen3(
        read_config_json(folder),
        num_prebuffer_layers=num_prebuffer_layers,
        image_start_id=117,
        image_context_id=118,
        image_end_id=119,
        patch_hidden=8,
    )


def test_text_logits_are_qwen3s_own(qwen3_folder: Path) -> None:
    from transformers import Qwen3ForCausalLM

    ids = np.random.default_rng(0).integers(0, 110, 70)
    qwen3 = Qwen3ForCausalLM.from_pretrained(qwen3_folder, attn_implementation="eager")
    model = NeoModel(neo_config(qwen3_folder, 0))
    load_language_model(model, read_tensors(qwen3_folder))
    batch = pack([Document(token_ids=ids, supervised=[False] * 70)], [], image_context_id=118)
    with torch.no_grad():
        expected = qwen3(torch.from_numpy(ids)[None]).logits[0]
        torch.testing.assert_close(model.logits(batch), expected, atol=5e-5, rtol=1e-5)


def test_a_silent_prebuffer_leaves_the_language_model_as_it_was(qwen3_folder: Path) -> None:
    """Layers whose outputs are zero are no layers: the layer shift is right."""
    tensors = read_tensors(qwen3_folder)
    plain, deep = NeoModel(neo_config(qwen3_folder, 0)), NeoModel(neo_config(qwen3_folder, 2))
    for model in (plain, deep):
        load_language_model(model, tensors)
    with torch.no_grad():
        for layer in deep.layers[:2]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        batch = pack([Document(token_ids=range(30), supervised=[False] * 30)], [], image_context_id=118)
        assert torch.equal(plain.logits(batch), deep.logits(batch))


def test_misfits_are_named_together(qwen3_folder: Path) -> None:
    config = neo_config(qwen3_folder, 2)
    tensors = read_tensors(qwen3_folder)
    tensors["model.norm.weight"] = torch.ones(5)
    tensors["model.layers.7.mlp.up_proj.weight"] = torch.ones(1)
    del tensors["model.layers.1.self_attn.q_norm.weight"]
    with pytest.raises(TensorMismatchError) as caught:
        from_qwen3(tensors, config)
    for word in ("q_norm", "layers.7", r"model.norm.weight is (5,), expected (32,)"):
        assert word in str(caught.value)


def test_an_untied_model_without_a_head_gets_a_copy_of_its_embedding() -> None:
    config = tiny_config()
    tensors = {name: torch.randn(shape) for name, shape in qwen3_shapes(config).items() if name != "lm_head.weight"}
    converted = from_qwen3(tensors, config)
    assert torch.equal(converted["language_model.lm_head.weight"], tensors["model.embed_tokens.weight"])


def test_differences_of_language_models_are_listed(qwen3_folder: Path) -> None:
    config, qwen3 = neo_config(qwen3_folder, 2), read_config_json(qwen3_folder)
    assert language_model_differences(config, qwen3) == []
    other = qwen3 | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "num_hidden_layers": 4}
    assert language_model_differences(config, other) == [
        "num_layers 5 against 6",
        "theta_t 1000000.0 against 10000.0",
    ]
