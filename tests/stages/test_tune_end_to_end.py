"""End-to-end tuning from a merged checkpoint: all of it trains, and what comes out loads as what went in."""

from functools import partial
from pathlib import Path

import pytest

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
