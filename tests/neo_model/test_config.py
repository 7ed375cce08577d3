"""Both released shapes are read, what is written is what was read, and nonsense is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neo_model.config import NEO_2B, NEO_9B, ConfigError, NeoConfig
from tests.neo_model.tiny import tiny_config

GOLDEN = Path(__file__).parents[1] / "golden_model"


@pytest.mark.parametrize("case", ["base_untied", "tied_small"])
def test_the_released_shape_is_written_as_it_was_read(case: str) -> None:
    released = json.loads((GOLDEN / case / "config.json").read_text())
    assert NeoConfig.from_released(released).to_released() == released


def test_the_evaluation_kits_shape_says_the_same() -> None:
    config = tiny_config()
    other = config.to_released()
    other["vision_config"]["llm_hidden_size"] = [config.hidden]
    other["vision_config"]["downsample_ratio"] = [0.5]
    for default in ("min_pixels", "max_pixels", "rope_theta_vision"):
        del other["vision_config"][default]
    del other["llm_config"]["rope_theta_hw"]
    assert NeoConfig.from_released(other) == config


def test_absent_image_ids_are_the_observed_ones() -> None:
    released = NEO_2B.to_released()
    for name in ("img_context_token_id", "img_start_token_id", "img_end_token_id"):
        del released[name]
    assert NeoConfig.from_released(released) == NEO_2B


@pytest.mark.parametrize(
    "spelling", [{"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}]
)
def test_qwen3_is_read_in_both_spellings_of_the_base(spelling: dict[str, Any]) -> None:
    qwen3 = {
        "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 96,
        "vocab_size": 200, "num_hidden_layers": 3, "tie_word_embeddings": True, "rms_norm_eps": 1e-6, **spelling,
    }  # fmt: skip
    config = NeoConfig.from_qwen3(qwen3, num_prebuffer_layers=2, image_start_id=1, image_context_id=2, image_end_id=3)
    assert (config.num_layers, config.num_post_llm_layers, config.theta_t, config.tied) == (5, 3, 5e5, True)


def test_scaled_rotations_are_refused() -> None:
    released = tiny_config().to_released()
    released["llm_config"]["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0}
    with pytest.raises(ConfigError, match="yarn"):
        NeoConfig.from_released(released)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"num_kv_heads": 3}, "num_kv_heads = 3 does not divide num_heads 4"),
        ({"head_dim": 18}, "head_dim = 18 is not a multiple of 4"),
        ({"image_end_id": 96}, "image_end_id = 96 is outside the vocabulary of 96"),
        ({"image_end_id": 90}, "shared"),
        ({"num_prebuffer_layers": 4}, r"num_prebuffer_layers = 4 is outside 0\.\.3"),
        ({"min_pixels_px": 0}, "min_pixels_px = 0"),
        ({"patch_hidden": 6}, "patch_hidden = 6"),
        ({"ffn": -1}, "ffn = -1 is not positive"),
    ],
)
def test_nonsense_is_named_with_its_value(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        tiny_config(**changes)


def test_a_plain_qwen3_is_no_neo_config() -> None:
    with pytest.raises(ConfigError, match="from_qwen3"):
        NeoConfig.from_released({"model_type": "qwen3", "hidden_size": 64})


def test_the_papers_sizes() -> None:
    assert (NEO_2B.num_layers, NEO_2B.num_post_llm_layers) == (40, 28)
    assert (NEO_9B.num_layers, NEO_9B.num_post_llm_layers) == (42, 36)
