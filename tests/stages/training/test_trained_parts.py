"""What of a model a tuning trains: chosen by module, added up to the whole, refused in words."""

import pytest
import torch
from pydantic import ValidationError

from neo_model.config import NEO_2B
from neo_model.model import NeoModel
from neo_model.parts import LINEAR_NAMES, MODEL_PARTS
from neo_model.weights.partition import part_of_parameters, stage1_trainable
from stages.contract import StageError
from stages.train_prebuffer import TrainPrebufferRecipe
from stages.training.trained_parts import choose_trained, factors_of_parameters
from stages.training.weight_digests import trainable_names
from stages.tune_end_to_end import TuneRecipe
from tests.neo_model.tiny import tiny_config

TOP = "language_model.model.layers.2."


def recipe(**fields) -> TuneRecipe:
    return TuneRecipe(num_steps=3, rows_per_step=2, **fields)


def trained(config=None, **fields) -> frozenset[str]:
    """Names of what trains, in a model of 3 layers of which the first is the pre-Buffer."""
    model = meta_model(config)
    choose_trained(model, recipe(**fields))
    return trainable_names(model)


def meta_model(config=None) -> NeoModel:
    with torch.device("meta"):
        return NeoModel(config or tiny_config())


def test_without_a_word_everything_trains() -> None:
    assert trained() == frozenset(part_of_parameters(meta_model()))
    assert recipe().trains_all and not recipe(lora_rank=2).trains_all


def test_the_parts_are_disjoint_whole_and_trained_alone() -> None:
    each = {part: trained(trained_parts=(part,)) for part in MODEL_PARTS}
    assert sum(map(len, each.values())) == len(trained()) and frozenset().union(*each.values()) == trained()
    assert all("vision_model" in name for name in each["vision"])
    assert all(".layers.0." in name for name in each["prebuffer"])
    assert each["vision"] | each["prebuffer"] | each["hw"] == stage1_trainable(tiny_config())
    assert each["embedding"] == {"language_model.model.embed_tokens.weight"}
    assert each["head"] == {"language_model.lm_head.weight"}
    assert "language_model.model.norm.weight" in each["post_llm"]


def test_the_last_layers_train_alone_or_with_named_parts() -> None:
    assert trained(trained_top_layers=1) == {name for name in trained() if name.startswith(TOP)}
    both = trained(trained_parts=("vision", "post_llm"), trained_top_layers=1)
    vision = trained(trained_parts=("vision",))
    norm = {"language_model.model.norm.weight"}
    assert vision < both and both - vision == norm | (
        trained(trained_parts=("post_llm",)) & {name for name in trained() if name.startswith(TOP)}
    )


def test_adapters_stand_beside_maps_that_do_not_train_themselves() -> None:
    adapters = trained(lora_rank=2)
    assert len(adapters) == 2 * len(LINEAR_NAMES) * 3 and all(".lora_" in name for name in adapters)
    top = trained(lora_rank=2, trained_top_layers=1, lora_targets=("q_proj", "down_proj"))
    assert top == {f"{TOP}{name}.lora_{half}" for name in ("self_attn.q_proj", "mlp.down_proj") for half in "ab"}
    mixed = trained(lora_rank=2, trained_parts=("vision", "prebuffer", "hw"))
    own = {name for name in mixed if ".lora_" not in name}
    assert own == stage1_trainable(tiny_config())
    assert {name.partition(".lora_")[0].rpartition(".")[2] for name in mixed - own} == {
        name for name in LINEAR_NAMES if not name.endswith("_hw")
    }
    assert not any(".layers.0." in name for name in mixed - own)


def test_adapters_of_rank_16_are_a_hundredth_of_the_published_2b() -> None:
    model = meta_model(NEO_2B)
    choose_trained(model, recipe(lora_rank=16))
    share = sum(one.numel() for one in model.parameters() if one.requires_grad) / sum(
        one.numel() for one in meta_model(NEO_2B).parameters()
    )
    assert 0.005 < share < 0.015


def test_factors_are_by_part_and_reach_the_adapters() -> None:
    model = meta_model()
    choose_trained(model, recipe(lora_rank=2, trained_parts=("vision",)))
    factors = factors_of_parameters(model, {"vision": 0.1, "prebuffer": 3.0})
    assert factors.keys() == trainable_names(model)
    assert {value for name, value in factors.items() if "vision" in name} == {0.1}
    assert {value for name, value in factors.items() if ".layers.0." in name} == {3.0}
    assert {value for name, value in factors.items() if name.startswith(TOP)} == {1.0}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora_rank": 2, "lora_targets": ("qkv_proj",)}, "Input should be 'q_proj', 'k_proj'"),
        ({"lora_rank": 2, "lora_targets": ()}, "name the maps to adapt"),
        ({"lora_rank": 2, "lora_targets": ("q_proj", "q_proj")}, "names one twice"),
        ({"lora_rank": 0}, "greater than or equal to 1"),
        ({"lora_alpha": 0}, "greater than 0"),
        ({"trained_parts": ("encoder",)}, "Input should be 'vision'"),
        ({"trained_parts": ()}, "trains nothing"),
        ({"learning_rate_factors": {"vision": 0}}, "greater than 0"),
        ({"learning_rate_factors": {"encoder": 1}}, "Input should be 'vision'"),
    ],
)
def test_what_no_model_has_is_refused_where_the_pipeline_is_written(fields: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"trained_top_layers": 4}, "trained_top_layers = 4: the model has 3 layers"),
        ({"lora_rank": 33}, r"lora_rank = 33 is more than .*q_proj has, which is 32 wide"),
        ({"trained_parts": ("head",)}, "the output head is the embedding table here"),
        ({"trained_parts": ("prebuffer",), "trained_top_layers": 2}, "'prebuffer', of which nothing trains"),
        ({"lora_rank": 2, "trained_parts": ("hw",), "lora_targets": ("q_proj_hw",), "trained_top_layers": 1},
         "train themselves"),
    ],
)  # fmt: skip
def test_what_this_model_has_not_is_refused_in_words(fields: dict, said: str) -> None:
    with pytest.raises(StageError, match=said):
        trained(tiny_config(tied=True), **fields)


def test_a_factor_for_what_does_not_train_is_refused() -> None:
    model = meta_model()
    choose_trained(model, recipe(lora_rank=2))
    with pytest.raises(StageError, match="names head, vision, of which nothing trains"):
        factors_of_parameters(model, {"vision": 0.1, "head": 2.0, "prebuffer": 1.0})
    with pytest.raises(ValidationError, match="head does not train here"):
        TrainPrebufferRecipe(num_steps=3, rows_per_step=2, learning_rate_factors={"head": 0.5})
