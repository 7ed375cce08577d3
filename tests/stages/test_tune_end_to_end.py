"""End-to-end tuning from a merged checkpoint: all of it trains, and what comes out loads as what went in."""

from functools import partial
from pathlib import Path

import pytest

from stages.contract import StageError
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.train_prebuffer import train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.stages.training.test_loop import LLM, RECIPE, ROWS, die_after, two_ranks
from tests.worlds.training_world import RowsRecipe, SmallWorld, make_rows

SHORT = RECIPE.model_copy(update={"num_steps": 2})
BUFFER = train_prebuffer.bind("prebuffer", SHORT, [ROWS], LLM)
MERGED = merge_post_llm.bind("merged", MergeRecipe(), BUFFER, LLM)
LONGER = make_rows.bind("longer_rows", RowsRecipe(num_rows=9, seed=5, max_pixels_px=16_384), LLM)
TUNE = TuneRecipe(
    num_steps=5,
    until_steps=(3,),
    rows_per_step=8,
    peak_learning_rate=1e-3,
    num_warmup_steps=0,
    precision="fp32",
    checkpoint_every_steps=2,
)
TUNED = tune_end_to_end.bind("tuned", TUNE, MERGED, [ROWS, LONGER])


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def test_a_checkpoint_is_tuned_over_several_rows_and_survives_a_kill(world: SmallWorld, tmp_path: Path) -> None:
    from neo_model.inputs.conversation import load_tokenizer
    from neo_model.weights.released import load_model

    layout = two_ranks(3).model_copy(update={"activation_checkpointing": True})
    for step in (BUFFER, MERGED):
        world.make(step, two_ranks())
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(TUNED, layout, trouble=partial(die_after, step=2))
    tuned = world.make(TUNED, layout)
    assert tuned.parts[-1].facts["unmoved"] == []
    assert tuned.parts[-1].facts["num_frozen_tensors"] == 0
    assert tuned.parts[-1].facts["rows"] == [world.open(rows).manifest.content for rows in (ROWS, LONGER)]
    before, after = (load_model(world.open(step).copy_to(tmp_path / step.name)) for step in (MERGED, TUNED))
    assert before.state_dict().keys() == after.state_dict().keys()
    assert after.config == before.config.with_pixels(min_pixels_px=2048, max_pixels_px=16_384)
    assert load_tokenizer(tmp_path / "tuned").get_vocab() == load_tokenizer(tmp_path / "merged").get_vocab()
    straight = SmallWorld.at(tmp_path / "straight")
    straight.make(BUFFER, two_ranks())
    assert straight.make(TUNED, layout).content == tuned.content


ADAPTING = TUNE.model_copy(update={"trained_parts": ("vision",), "lora_rank": 4, "lora_targets": ("v_proj", "up_proj")})
ADAPTED = tune_end_to_end.bind("adapted", ADAPTING, MERGED, [ROWS, LONGER])


def test_adapters_survive_a_kill_and_come_out_as_plain_weights(world: SmallWorld, tmp_path: Path) -> None:
    """Frozen weights come out bit for bit; checkpoints hold what trains alone; the result loads as any checkpoint."""
    import torch
    from safetensors import safe_open

    from neo_model.weights.released import read_checkpoint

    for step in (BUFFER, MERGED):
        world.make(step, two_ranks())
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(ADAPTED, two_ranks(3), trouble=partial(die_after, step=2))
    (committed,) = world.checkpoints(ADAPTED).committed()
    shards = [entry for entry in committed.files if entry.key.endswith(".safetensors")]
    assert len(shards) == 2
    for number, entry in enumerate(shards):
        (tmp_path / f"{number}.safetensors").write_bytes(world.store.read(entry.key))
        with safe_open(tmp_path / f"{number}.safetensors", framework="pt") as file:
            names = {name.partition("/")[2] for name in file.keys()}  # noqa: SIM118
        assert all(".lora_" in name or name.startswith("vision_model.") for name in names)
    adapted = world.make(ADAPTED, two_ranks(3))
    assert adapted.parts[-1].facts["num_frozen_tensors"] > 0
    (config, before), (_, after) = (
        read_checkpoint(world.open(step).copy_to(tmp_path / step.name)) for step in (MERGED, ADAPTED)
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {
        name
        for name in before
        if name.startswith("vision_model.") or name.endswith(("v_proj.weight", "up_proj.weight"))
    }
    assert len(moved) == 4 + 2 * config.num_layers
    straight = SmallWorld.at(tmp_path / "straight")
    for step in (BUFFER, MERGED):
        straight.make(step, two_ranks())
    assert straight.make(ADAPTED, two_ranks(3)).content == adapted.content


def test_what_the_checkpoint_has_not_is_refused_before_ranks_are_asked_for(world: SmallWorld) -> None:
    wide = tune_end_to_end.bind("wide", ADAPTING.model_copy(update={"lora_rank": 400}), MERGED, [ROWS, LONGER])
    with pytest.raises(StageError, match="lora_rank = 400 is more than"):
        world.make(wide, two_ranks(), trouble=lambda rank: pytest.fail("a rank was started"))


def test_fields_that_are_left_alone_change_no_fingerprint() -> None:
    stated = TUNE.model_copy(update={"trained_parts": None, "lora_rank": None, "learning_rate_factors": {}})
    assert tune_end_to_end.bind("tuned", stated, MERGED, [ROWS, LONGER]).fingerprint == TUNED.fingerprint
    assert ADAPTED.fingerprint != TUNED.fingerprint
