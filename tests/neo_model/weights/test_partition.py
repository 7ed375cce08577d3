"""Which parameters train in stage 1, at the paper's sizes, exactly."""

from __future__ import annotations

import pytest

from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.model import NeoModel
from neo_model.weights.partition import (
    freeze_for_stage1,
    num_parameters,
    parameter_shapes,
    post_llm_keys,
    prebuffer_keys,
    stage1_trainable,
)
from tests.neo_model.tiny import lively_model, row, tiny_config

NEW = {"q_proj_hw", "k_proj_hw", "q_norm_h", "q_norm_w", "k_norm_h", "k_norm_w"}


@pytest.mark.parametrize(
    ("config", "trainable", "layers", "patches"), [(NEO_2B, 0.865, 2.265, 9.18), (NEO_9B, 2.056, 8.984, 17.57)]
)
def test_the_papers_counts(config: NeoConfig, trainable: float, layers: float, patches: float) -> None:
    """In billions and, for the patch embedding, millions; the paper's counts leave the norms out."""
    names = [name for name in parameter_shapes(config) if "norm" not in name]
    wanted = stage1_trainable(config)
    assert round(num_parameters(config, [name for name in names if name in wanted]) / 1e9, 3) == trainable
    assert round(num_parameters(config, [name for name in names if ".layers." in name]) / 1e9, 3) == layers
    vision = [name for name in names if name.startswith("vision_model.")]
    assert round(num_parameters(config, vision) / 1e6, 2) == patches


@pytest.mark.parametrize("config", [NEO_2B, NEO_9B])
def test_the_exact_keys(config: NeoConfig) -> None:
    """Written out from the names, independently of the modules."""
    expected = set()
    for name in parameter_shapes(config):
        parts = name.split(".")
        if parts[0] == "vision_model" or (
            ".layers." in name and (int(parts[3]) < config.num_prebuffer_layers or parts[5] in NEW)
        ):
            expected.add(name)
    assert stage1_trainable(config) == expected
    assert "language_model.lm_head.weight" not in stage1_trainable(config)


def test_the_parts_are_disjoint_and_whole() -> None:
    config = tiny_config()
    assert prebuffer_keys(config) | post_llm_keys(config) == set(parameter_shapes(config))
    assert not prebuffer_keys(config) & post_llm_keys(config)


def test_freezing_leaves_gradients_to_the_trainable_only() -> None:
    config = tiny_config(num_layers=4, num_prebuffer_layers=2)
    model = lively_model(config)
    freeze_for_stage1(model)
    model(row([3, (4, 4), 5])).loss.backward()
    moved = {
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert moved == stage1_trainable(config)


def test_shapes_are_those_of_the_model() -> None:
    config = tiny_config(tied=True)
    assert parameter_shapes(config) == {
        name: tuple(value.shape) for name, value in NeoModel(config).state_dict().items()
    }
