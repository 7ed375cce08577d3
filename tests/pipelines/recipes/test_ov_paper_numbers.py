"""NEO-ov's numbers stand in the shipped pipelines."""

import pytest

from pipelines.planning.catalog import find_pipeline
from pipelines.recipes import _ov_paper as paper

SETTINGS = {"prebuffer": (7_800, 2e-4, 78), "mid": (50_000, 5e-5, 500), "chat": (9_200, 5e-5, 92)}
"""Step to optimizer steps, peak learning rate, and warm-up of a hundredth."""


def test_the_samples_are_the_papers() -> None:
    assert sum(paper.PRETRAIN.values()) == 20_000_000
    assert (paper.NUM_MID, paper.NUM_INSTRUCTIONS) == (60_000_000, 6_000_000)
    assert list(paper.MID.values()) == [2, 4, 1, 1] and list(paper.INSTRUCTIONS.values()) == [4, 1, 1]


@pytest.mark.parametrize("name", ["neo_ov_2b", "neo_ov_9b"])
def test_the_stages_are_those_of_the_paper(name: str) -> None:
    steps = find_pipeline(name).steps
    for step, (num_steps, rate, warmup) in SETTINGS.items():
        recipe = steps[step].recipe
        assert (recipe.num_steps, recipe.peak_learning_rate, recipe.num_warmup_steps) == (num_steps, rate, warmup)
    assert steps["mid"].recipe.until_steps == (25_000,), "16K rows, then 36K rows"
    packed = {name: steps[f"{name}_rows"].recipe for name in ("pretrain", "mid_short", "mid_long", "chat")}
    assert [recipe.max_row_tokens for recipe in packed.values()] == [16_384, 16_384, 36_864, 36_864]
    assert [recipe.max_pixels_px for recipe in packed.values()] == [1024**2, 4096**2, 4096**2, 4096**2]
    assert {recipe.max_frames for recipe in packed.values()} == {128}
    assert steps["ov_mid_video_clips"].recipe.sampling.max_frames == 128
    drawn = {name: steps[f"{name}_mix"].recipe.num_samples for name in ("pretrain", "mid", "chat")}
    assert drawn == {"pretrain": 20_000_000, "mid": 60_000_000, "chat": 6_000_000}


def test_the_first_stage_begins_with_the_prebuffer_of_a_neo() -> None:
    steps = find_pipeline("neo_ov_2b").steps
    assert steps["neo_prebuffer"].edges["checkpoint"].name == "neo"
    assert steps["prebuffer"].edges["start"].name == "neo_prebuffer" and steps["prebuffer"].recipe.rebase
