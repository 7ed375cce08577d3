"""A pre-Buffer that is cut out of a checkpoint goes on under another language model, where that is asked for."""

import json
from functools import partial
from pathlib import Path

import pytest

from stages.artifacts.kinds import Checkpoint
from stages.contract import GangLayout, Part, PartDraft, Recipe, StageContext, StageError, Step, stage
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.stages.training.test_loop import LLM, RECIPE, ROWS
from tests.worlds.model_folders import neo_config, write_neo
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

STILL = RECIPE.model_copy(update={"num_steps": 1, "peak_learning_rate": 1e-30, "num_warmup_steps": 0})
"""One step that moves nothing."""
BUFFER = train_prebuffer.bind("prebuffer", RECIPE.model_copy(update={"num_steps": 1}), [ROWS], LLM)
MERGED = merge_post_llm.bind("merged", MergeRecipe(), BUFFER, LLM)
TAKEN = take_prebuffer.bind("taken", TakePrebufferRecipe(), MERGED)
OTHER = make_llm.bind("other", LlmRecipe(seed=1))


class DepthRecipe(Recipe):
    num_prebuffer_layers: int


@stage(number=1, recipe=DepthRecipe, makes=Checkpoint)
def make_checkpoint(recipe: DepthRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_checkpoint, recipe=recipe), over=[Part(name="00000")], phase="write")


def write_checkpoint(_part: Part, draft: PartDraft, recipe: DepthRecipe) -> None:
    config = neo_config(num_prebuffer_layers=recipe.num_prebuffer_layers)
    write_neo(draft.path("model/config.json").parent, config=config, head="equal")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("take"))
    world.make(TAKEN)
    return world


def tensors_of(world: SmallWorld, step: Step, folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(world.open(step).copy_to(folder / step.name) / "prebuffer.safetensors")


def goes_on(llm: Step = OTHER, recipe: TrainPrebufferRecipe = STILL, **changes) -> Step:
    return train_prebuffer.bind("reused", recipe.model_copy(update=changes), [ROWS], llm, None, None, TAKEN)


def test_what_is_taken_is_what_was_merged_bit_for_bit(world: SmallWorld, tmp_path: Path) -> None:
    taken, trained = (tensors_of(world, step, tmp_path) for step in (TAKEN, BUFFER))
    assert taken.keys() == trained.keys()
    assert all(value.equal(trained[name]) for name, value in taken.items())


def test_training_begins_with_it_under_another_language_model(world: SmallWorld, tmp_path: Path) -> None:
    step = goes_on(rebase=True)
    world.make(step, GangLayout(num_ranks=2))
    taken, after = (tensors_of(world, one, tmp_path) for one in (TAKEN, step))
    assert all((value - taken[name]).abs().max() < 1e-20 for name, value in after.items())
    said = json.loads((tmp_path / "reused" / "prebuffer.json").read_text())
    assert said["language_model"]["content"] == world.open(OTHER).manifest.content
    assert said["taken_over"]["content"] == world.open(TAKEN).manifest.content
    assert said["taken_over"]["language_model"]["content"] == world.open(MERGED).manifest.content
    world.make(merge_post_llm.bind("again", MergeRecipe(), step, OTHER))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (goes_on(), r"trained against language model [0-9a-f]{12}, this one is [0-9a-f]{12}; .* rebase=True"),
        (goes_on(LLM), "trained against language model"),
        (goes_on(make_llm.bind("wide", LlmRecipe(hidden=48)), rebase=True), "hidden 32 against 48"),
        (goes_on(make_llm.bind("slow", LlmRecipe(theta=1e5)), rebase=True), "theta_t 1000000.0 against 100000.0"),
        (goes_on(rebase=True, num_prebuffer_layers=2), "the pre-Buffer to begin with"),
        (merge_post_llm.bind("again", MergeRecipe(), TAKEN, LLM), "trained against language model"),
    ],
)
def test_what_does_not_belong_together_is_refused(step: Step, message: str, world: SmallWorld) -> None:
    with pytest.raises(StageError, match=message):
        world.make(step)


def test_rows_of_another_tokenizer_are_refused(world: SmallWorld) -> None:
    rows = make_rows.bind("rows", RowsRecipe(), make_llm.bind("coarse", LlmRecipe(num_pieces=280)))
    with pytest.raises(StageError, match=r"was packed with another tokenizer than that of BaseLlm.* differ in \d+ pi"):
        world.make(train_prebuffer.bind("prebuffer", STILL, [rows], LLM))


def test_a_checkpoint_without_prebuffer_layers_is_refused(world: SmallWorld) -> None:
    made = make_checkpoint.bind("checkpoint", DepthRecipe(num_prebuffer_layers=0))
    with pytest.raises(StageError, match=r"Checkpoint.*: the checkpoint has a pre-Buffer of 0 layers"):
        world.make(take_prebuffer.bind("none", TakePrebufferRecipe(), made))


def test_a_head_that_is_stored_twice_is_no_obstacle(world: SmallWorld) -> None:
    made = make_checkpoint.bind("checkpoint", DepthRecipe(num_prebuffer_layers=1))
    taken = world.make(take_prebuffer.bind("some", TakePrebufferRecipe(), made))
    assert taken.parts[0].facts["num_tensors"] == 4 + 17 + 2 * 6
