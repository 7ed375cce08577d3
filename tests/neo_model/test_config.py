"""Both released shapes are read, what is written is what was read, and nonsense is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.config_fields import ConfigError
from tests.neo_model.tiny import tiny_config

GOLDEN = Path(__file__).parents[1] / "golden_model"
QWEN3 = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 96,
    "vocab_size": 200, "num_hidden_layers": 3, "tie_word_embeddings": True, "rms_norm_eps": 1e-6,
}  # fmt: skip
IDS = {"image_start_id": 1, "image_context_id": 2, "image_end_id": 3}


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


@pytest.mark.parametrize("published", [NEO_2B, NEO_9B], ids=["2B", "9B"])
def test_the_depth_of_a_published_size_is_known(published: NeoConfig) -> None:
    released = published.to_released()
    del released["llm_config"]["extra_num_layers"]
    assert NeoConfig.from_released(released) == published


def test_the_depth_of_another_size_is_asked_for_and_never_zero() -> None:
    released = tiny_config().to_released()
    assert NeoConfig.from_released(released, num_prebuffer_layers=1) == tiny_config()
    with pytest.raises(ConfigError, match="extra_num_layers = 1 in config.json, and num_prebuffer_layers = 2"):
        NeoConfig.from_released(released, num_prebuffer_layers=2)
    del released["llm_config"]["extra_num_layers"]
    assert NeoConfig.from_released(released, num_prebuffer_layers=1) == tiny_config()
    with pytest.raises(ConfigError, match=r"no extra_num_layers.*3 layers of width 32.*num_prebuffer_layers, a number"):
        NeoConfig.from_released(released)


def test_the_base_of_the_patch_rotation_is_what_the_folder_says() -> None:
    released = tiny_config().to_released()
    released["vision_config"]["rope_theta_vision"] = [1000.0]
    assert NeoConfig.from_released(released).theta_patch == 1000.0
    del released["vision_config"]["rope_theta_vision"]
    assert NeoConfig.from_released(released).theta_patch == 10_000.0


def test_layers_that_look_back_less_far_are_refused() -> None:
    released = tiny_config().to_released()
    released["llm_config"]["layer_types"] = ["full_attention", "sliding_attention", "full_attention"]
    with pytest.raises(ConfigError, match="layer_types = .*sliding_attention"):
        NeoConfig.from_released(released)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1e4}}, "stated twice and differently"),
        ({"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}}, "mrope_section"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1e6}}}, "rope type 'yarn'"),
    ],
)
def test_other_rotations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        NeoConfig.from_qwen3(QWEN3 | fields, num_prebuffer_layers=1, **IDS)


def test_a_base_that_is_not_stated_is_the_one_transformers_computes_with() -> None:
    assert NeoConfig.from_qwen3(QWEN3, num_prebuffer_layers=1, **IDS).theta_t == 1e4


@pytest.mark.parametrize(
    "spelling", [{"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}]
)
def test_qwen3_is_read_in_both_spellings_of_the_base(spelling: dict[str, Any]) -> None:
    config = NeoConfig.from_qwen3(QWEN3 | spelling, num_prebuffer_layers=2, **IDS)
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
        ({"ffn": -1}, "ffn = -1 is outside 1 to 10,000,000"),
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
