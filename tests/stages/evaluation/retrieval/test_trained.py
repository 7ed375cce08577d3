"""A training with a contrastive loss makes pictures and captions find each other; one without is as it always was."""

import json

import pytest

from stages.artifacts.kinds import METRICS_FILE
from stages.evaluate import EvaluateRecipe, evaluate
from stages.evaluation.retrieval.looked_up import trained_for_retrieval
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.worlds.colour_world import ColourWorld, PicturesRecipe, make_pictures

TUNE = TuneRecipe(
    num_steps=60,
    rows_per_step=2,
    peak_learning_rate=2e-3,
    num_warmup_steps=5,
    precision="fp32",
    checkpoint_every_steps=100,
    contrastive_temperature=0.1,
    keep_last_state=False,
)
UNSEEN = make_pictures.bind("unseen", PicturesRecipe(num_pictures=60, says_turn=True))
ASKING = EvaluateRecipe(max_new_tokens=1, max_prompt_tokens=120, blind_control=False, num_cards=0)


def tuned(world: ColourWorld, weight: float):
    """On a hundred pairs that are not looked up: six captions of plain pictures, of three colours and two shapes."""
    pictures = make_pictures.bind("seen", PicturesRecipe(num_pictures=100, called="train", says_turn=True))
    draw = mix_samples.bind(
        "draw", MixRecipe(shares={"pairs": 1}), {"pairs": filter_pairs.bind("kept", FilterPairsRecipe(), pictures)}
    )
    recipe = PackRowsRecipe(max_row_tokens=128, min_pixels_px=1024, max_pixels_px=8192)
    rows = pack_rows.bind("rows", recipe, draw, world.checkpoint)
    return tune_end_to_end.bind(
        "tuned", TUNE.model_copy(update={"contrastive_weight": weight}), world.checkpoint, [rows]
    )


def numbers_of(world: ColourWorld, step) -> dict[str, float]:
    world.make(UNSEEN)
    for one in step.walk():
        world.make(one)
    found = world.open(evaluate.bind("e", ASKING, step, world.questions, UNSEEN))
    return json.loads(found.read(found.part("00000", "evaluate").file(METRICS_FILE)))


@pytest.mark.kill
def test_recall_rises_above_chance_with_the_loss_and_stays_there_without(colour_world: ColourWorld) -> None:
    before, after = (numbers_of(colour_world, tuned(colour_world, weight)) for weight in (0.0, 1.0))
    assert trained_for_retrieval(colour_world.open(tuned(colour_world, 1.0))) is True
    assert (before["trained_for_retrieval"], after["trained_for_retrieval"]) == (0, 1)
    chance = after["chance_image_to_text_r1"]
    assert after["image_to_text_r1_low"] > chance + 0.3
    assert before["image_to_text_r1_low"] < chance + 0.1 < after["image_to_text_r1"]
