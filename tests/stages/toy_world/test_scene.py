"""Scenes: a pure function of their name, held-out combinations apart, answers that cannot be guessed."""

import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from neo_model.inputs.pictures import num_image_tokens
from stages.toy_world.scene import (
    ANSWERS,
    BAND_PX,
    NUM_HELDOUT_COMBINATIONS,
    QUESTION_KINDS,
    SIZES_PX,
    QuestionKind,
    Scene,
    guess_rate,
    is_heldout,
    scene,
)

TRAIN = [scene(7, "train", number) for number in range(3000)]
HELDOUT = [scene(7, "heldout", number) for number in range(NUM_HELDOUT_COMBINATIONS)]


def combination(shown: Scene) -> tuple[str, ...]:
    return tuple(shown.answer(kind) for kind in QUESTION_KINDS)


def test_a_scene_is_the_same_in_another_process() -> None:
    code = "from stages.toy_world.scene import scene; print(scene(7, 'train', 123))"
    others = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert others == {str(scene(7, "train", 123))}


def test_seed_split_and_number_each_change_the_scene() -> None:
    assert len({scene(7, "train", 1), scene(8, "train", 1), scene(7, "heldout", 1), scene(7, "train", 2)}) == 4


def test_no_held_out_combination_is_trained_on() -> None:
    assert {combination(shown) for shown in TRAIN}.isdisjoint({combination(shown) for shown in HELDOUT})
    assert not any(is_heldout(7, combination(scene(7, "told", number))) for number in range(500))


def test_every_held_out_combination_is_shown_once() -> None:
    assert len({combination(shown) for shown in HELDOUT}) == NUM_HELDOUT_COMBINATIONS
    assert all(is_heldout(7, combination(shown)) for shown in HELDOUT)


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_guessing_scores_exactly_chance(kind: QuestionKind) -> None:
    counts = Counter(shown.answer(kind) for shown in HELDOUT)
    assert {count / len(HELDOUT) for count in counts.values()} == {guess_rate(kind)}
    assert set(counts) == set(ANSWERS[kind])


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_training_scenes_show_every_answer_about_as_often(kind: QuestionKind) -> None:
    counts = Counter(shown.answer(kind) for shown in TRAIN)
    assert set(counts) == set(ANSWERS[kind])
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_shapes_are_large_inside_the_picture_and_apart() -> None:
    for shown in (*TRAIN[:1000], *HELDOUT):
        boxes = shown.shape_boxes
        assert len(boxes) == ANSWERS["count"].index(shown.count) + 1
        for left, top, right, bottom in boxes:
            assert 0 <= left < right < shown.width_px
            assert 0 <= top < bottom < shown.height_px
            assert min(right - left, bottom - top) >= min(shown.width_px, shown.height_px) / 6
        for one, other in combinations(boxes, 2):
            assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def test_shapes_stand_in_the_band_on_their_side_and_the_word_does_not() -> None:
    for shown in TRAIN[:1000]:
        for left, top, right, bottom in shown.shape_boxes:
            assert distance_from_side(shown, ((left + right) // 2, (top + bottom) // 2)) < BAND_PX
        assert distance_from_side(shown, shown.word_centre) > BAND_PX


def distance_from_side(shown: Scene, point: tuple[int, int]) -> int:
    """Of a point from the side that the scene's position names, in pixels."""
    x, y = point
    return {"left": x, "right": shown.width_px - x, "top": y, "bottom": shown.height_px - y}[shown.position]


def test_sizes_vary_and_become_25_to_35_visual_tokens() -> None:
    assert {(shown.width_px, shown.height_px) for shown in TRAIN} == set(SIZES_PX)
    assert len({width_px / height_px for width_px, height_px in SIZES_PX}) >= 4
    tokens = {num_image_tokens(width_px, height_px, 4096, 65_536) for width_px, height_px in SIZES_PX}
    assert min(tokens) == 25
    assert max(tokens) == 35
