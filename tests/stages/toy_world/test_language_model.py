"""The configuration of the toy language model; its training and files are in test_train_toy_llm.py."""

import json
import subprocess
import sys

import pytest

from neo_model.inputs.conversation import END_OF_TEXT, TURN_END
from stages.toy_world.language_model import (
    NUM_SPARE_ROWS,
    ROW_MULTIPLE,
    LlmSchedule,
    LlmSizes,
    _learning_rate,
    hub_config,
)
from stages.toy_world.train_toy_llm import ToyLlmRecipe
from stages.toy_world.world import ToyWorld

SIZES = LlmSizes(hidden=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, ffn=96, max_tokens=128)


@pytest.mark.parametrize(("num_tokens", "num_rows"), [(538, 576), (544, 576), (545, 640), (32, 64)])
def test_the_embedding_has_spare_rows_and_a_round_number_of_them(num_tokens: int, num_rows: int) -> None:
    config = hub_config(SIZES, {END_OF_TEXT: 0, TURN_END: 1, "last": num_tokens - 1})
    assert config["vocab_size"] == num_rows
    assert num_rows % ROW_MULTIPLE == 0 and num_rows - num_tokens >= NUM_SPARE_ROWS


def test_the_learning_rate_rises_then_falls_to_a_tenth() -> None:
    schedule = LlmSchedule(num_steps=1000, num_warmup_steps=10, peak_learning_rate=1.0, seed=0)
    rates = [_learning_rate(step, schedule) for step in range(1000)]
    assert rates[:2] == pytest.approx([0.1, 0.2], rel=1e-3)
    assert max(rates) == pytest.approx(1.0, rel=1e-3) and rates[-1] == pytest.approx(0.1, rel=1e-3)


def test_a_recipe_gives_sizes_and_schedule_by_the_names_of_its_fields() -> None:
    recipe = ToyLlmRecipe(world=ToyWorld(), hidden=8, num_steps=3)
    fields = recipe.model_dump()
    for part in (recipe.sizes, recipe.schedule):
        assert all(fields[name] == value for name, value in vars(part).items())


def test_the_module_is_light_and_knows_no_stage() -> None:
    code = "import sys, json, stages.toy_world.language_model; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert not modules & {"torch", "transformers", "stages.toy_world.train_toy_llm"}
