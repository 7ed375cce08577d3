"""Evaluating on clips: controls with other clips and with shuffled frames, and nothing shown less without a trace."""

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from pipelines.running.scores import accuracy_table
from stages.artifacts.kinds import ANSWERS_FILE, CONTACT_SHEET_FILE, METRICS_FILE, Evaluation
from stages.evaluate import EvaluateRecipe, evaluate
from stages.evaluation.contact_sheet import MIN_WIDE_PX
from stages.formats.sample_table import read_table
from tests.worlds.clip_questions import ClipQuestionsRecipe, ask_about_clips
from tests.worlds.clip_world import ClipsRecipe, make_clips
from tests.worlds.colour_world import ColourWorld

RECIPE = EvaluateRecipe(
    max_new_tokens=4, max_prompt_tokens=4000, min_frame_pixels_px=1024, max_frame_pixels_px=4096, max_frames=4,
    shuffled_control=True, num_questions_per_part=4, num_cards=0,
)  # fmt: skip


def evaluated(world: ColourWorld, recipe: EvaluateRecipe) -> Evaluation:
    clips = make_clips.bind("clips", ClipsRecipe(films=("walk", "jump", "turn", "fall"), num_frames=8))
    asked = ask_about_clips.bind("asked", ClipQuestionsRecipe(), clips)
    return world.open(evaluate.bind("evaluate", recipe, world.checkpoint, asked))


def answers_of(made: Evaluation) -> list[dict[str, Any]]:
    return read_table(made.read(made.part("00000", "evaluate").file(ANSWERS_FILE))).to_pylist()


@pytest.fixture(scope="module")
def made(colour_world: ColourWorld) -> Evaluation:
    return evaluated(colour_world, RECIPE)


def test_clips_are_asked_with_their_controls_and_their_frames_are_counted(made: Evaluation) -> None:
    rows = answers_of(made)
    order = [row for row in rows if row["kind"] == "order" and row["verdict"] == "kept"]
    assert len(order) == 4
    for row in order:
        assert (row["num_frames"], row["num_frames_kept"]) == ([4], [8])
        assert row["answer"] is not None and row["shuffled_answer"] is not None
        assert not set(row["blind_clip_ids"]) & set(row["clip_ids"])
    assert sum(bool(row["blind_clip_ids"]) for row in order) >= 3, "all but one that would get the lost clip"
    (word,) = [row for row in rows if row["kind"] == "word"]
    assert (word["num_frames"], word["shuffled_answer"], word["blind_clip_ids"]) == ([], None, [])
    (far,) = [row for row in rows if row["kind"] == "far"]
    assert (far["scoring"], far["score"], far["correct"]) == ("numeric", 0.0, False)
    assert {row["reason"] for row in rows} == {None, "clip_not_kept", "unrenderable"}


def test_the_metrics_have_the_shuffled_control_and_numbers_apart(made: Evaluation) -> None:
    numbers = json.loads(made.read(made.part("00000", "evaluate").file(METRICS_FILE)))
    assert {"accuracy_order", "accuracy_blind_order", "accuracy_shuffled_order", "mra_far"} <= numbers.keys()
    assert "accuracy_far" not in numbers and "accuracy_shuffled_word" not in numbers and "score" not in numbers
    assert (numbers["num_questions"], numbers["num_failed"]) == (9, 2)


def test_memory_is_bounded_and_the_bound_changes_no_answer(
    colour_world: ColourWorld, made: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.evaluate.TOKENS_ASKED_TOGETHER", 1)
    again = evaluated(colour_world, RECIPE.model_copy(update={"num_questions_per_part": 1000}))
    assert answers_of(again) == answers_of(made)


def test_kinds_may_be_scored_as_numbers(colour_world: ColourWorld) -> None:
    recipe = RECIPE.model_copy(update={"numeric_kinds": ("order", "far")})
    rows = answers_of(evaluated(colour_world, recipe))
    assert {row["scoring"] for row in rows if row["kind"] == "order"} == {"numeric"}
    assert {row["reason"] for row in rows if row["kind"] == "order"} == {"no_truth"}, "red is no number"
    assert [row["scoring"] for row in rows if row["kind"] in ("word", "far")] == ["exact", "numeric"]


def test_the_table_of_a_run_shows_the_controls_and_numbers(made: Evaluation) -> None:
    numbers = json.loads(made.read(made.part("00000", "evaluate").file(METRICS_FILE)))
    table = accuracy_table(numbers)
    assert [column.heading for column in table.columns][3:] == ["blind", "shuffled", "guessing"]
    assert table.cells(0)[-2:] == ["all: MRA", "far: MRA"]
    assert len(list(accuracy_table({"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}).columns)) == 5


def test_pixels_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5000 and at most 4096 pixels"):
        EvaluateRecipe(min_frame_pixels_px=5000, max_frame_pixels_px=4096)


def test_the_contact_sheet_shows_the_films_of_the_questions(colour_world: ColourWorld, made: Evaluation) -> None:
    """A sheet with cards is as much higher than one without as wide cards of strips are."""
    shown = evaluated(colour_world, RECIPE.model_copy(update={"num_cards": 25}))
    sheets = [
        Image.open(BytesIO(one.read(one.part("00000", "evaluate").file(CONTACT_SHEET_FILE)))) for one in (made, shown)
    ]
    num_films = sum(bool(row["clip_ids"]) for row in answers_of(shown) if row["correct"] is not None)
    assert sheets[1].height > sheets[0].height + num_films * MIN_WIDE_PX
