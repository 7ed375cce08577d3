"""Published sizes are those of the models they name: parameters, depth, and NEO on top of its Qwen3."""

from __future__ import annotations

import pytest

from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.published import NEO_CONFIGS, QWEN3_CONFIGS
from neo_model.weights.partition import num_parameters, parameter_shapes
from neo_model.weights.qwen3 import qwen3_shapes

IDS = {"image_start_id": 151_670, "image_context_id": 151_669, "image_end_id": 151_671}


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen3-0.6B", 0.60), ("Qwen3-1.7B", 1.72), ("Qwen3-4B", 4.02), ("Qwen3-8B", 8.19), ("Qwen3-14B", 14.77),
        ("Qwen3-32B", 32.76),
    ],
)  # fmt: skip
def test_the_number_of_parameters_is_that_of_the_name(name: str, billions: float) -> None:
    import math

    config = NeoConfig.from_qwen3(QWEN3_CONFIGS[name], num_prebuffer_layers=0, **IDS)
    total = sum(math.prod(shape) for shape in qwen3_shapes(config).values())
    assert total / 1e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.parametrize(("neo", "qwen3"), [(NEO_2B, "Qwen3-1.7B"), (NEO_9B, "Qwen3-8B")], ids=["2B", "9B"])
def test_a_published_neo_stands_on_its_qwen3(neo: NeoConfig, qwen3: str) -> None:
    depth = neo.num_prebuffer_layers
    assert NeoConfig.from_qwen3(QWEN3_CONFIGS[qwen3], num_prebuffer_layers=depth, **IDS) == neo


@pytest.mark.parametrize(("name", "billions"), [("NEO-2B", 2.585), ("NEO-9B", 10.246)])
def test_the_parameters_of_a_published_neo(name: str, billions: float) -> None:
    shapes = parameter_shapes(NEO_CONFIGS[name])
    assert num_parameters(NEO_CONFIGS[name], shapes) / 1e9 == pytest.approx(billions, abs=0.001)
