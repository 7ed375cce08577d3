"""A pre-Buffer joins the language model it was trained against, and no other unless that is asked for."""

from pathlib import Path

import pytest

from stages.contract import GangLayout, StageError, Step
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.train_prebuffer import train_prebuffer
from tests.stages.training.test_loop import LLM, RECIPE, ROWS
from tests.worlds.training_world import LlmRecipe, SmallWorld, make_llm

BUFFER = train_prebuffer.bind("prebuffer", RECIPE.model_copy(update={"num_steps": 1}), [ROWS], LLM)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("merge"))
    world.make(BUFFER, GangLayout(zero_stage=1))
    return world


def merge_with(llm: Step, **fields) -> Step:
    return merge_post_llm.bind("merged", MergeRecipe(**fields), BUFFER, llm)


def test_the_merged_checkpoint_holds_both_bit_for_bit(world: SmallWorld, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from neo_model.weights.qwen3 import from_qwen3
    from neo_model.weights.released import load_model, read_tensors

    world.make(merge_with(LLM))
    model = load_model(world.open(merge_with(LLM)).copy_to(tmp_path / "merged"))
    buffer = load_file(world.open(BUFFER).copy_to(tmp_path / "buffer") / "prebuffer.safetensors")
    inherited = from_qwen3(read_tensors(world.open(LLM).copy_to(tmp_path / "llm")), model.config)
    for name, value in model.state_dict().items():
        assert value.equal(buffer[name] if name in buffer else inherited[name]), name
    assert (tmp_path / "merged" / "tokenizer.json").is_file()


def test_the_same_merge_gives_the_same_bytes(world: SmallWorld, tmp_path: Path) -> None:
    other = SmallWorld.at(tmp_path)
    other.make(BUFFER, GangLayout(zero_stage=1))
    assert other.make(merge_with(LLM)).content == world.make(merge_with(LLM)).content


def test_another_language_model_needs_rebase(world: SmallWorld) -> None:
    other = make_llm.bind("other", LlmRecipe(seed=1))
    with pytest.raises(StageError, match="trained against language model [0-9a-f]{12}, this one is"):
        world.make(merge_with(other))
    merged = world.make(merge_with(other, rebase=True))
    facts = merged.parts[0].facts
    assert facts["language_model"] == world.open(other).manifest.content
    assert facts["trained_against"] == world.open(LLM).manifest.content


@pytest.mark.parametrize(
    ("change", "difference"), [({"hidden": 48}, "hidden 32 against 48"), ({"theta": 1e5}, "theta_t 1000000.0 against")]
)
def test_widths_and_rotation_must_agree_even_then(change: dict, difference: str, world: SmallWorld) -> None:
    other = make_llm.bind("other", LlmRecipe(**change))
    with pytest.raises(Exception, match=difference):
        world.make(merge_with(other, rebase=True))
