"""Boxes are spelt in thousandths and read back; what is no box is refused in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neo_model.inputs.boxes import BoxError, box_in_picture, read_boxes, spell_boxes


def test_the_released_spelling() -> None:
    assert spell_boxes([(10, 20, 50, 80)], 100, 200) == "[[100, 100, 500, 400]]"
    assert spell_boxes([(0, 0, 1, 1), (1, 1, 2, 2)], 2, 2) == "[[0, 0, 500, 500], [500, 500, 1000, 1000]]"
    assert spell_boxes([(-5, 0, 300, 10)], 200, 10) == "[[0, 0, 1000, 1000]]"


def test_boxes_are_found_in_answers() -> None:
    assert read_boxes("The dog is at [[100, 100, 500, 400]].", 100, 200) == [(10, 20, 50, 80)]
    assert read_boxes("[ 0,0 , 1000.0, 2000 ]", 64, 32) == [(0, 0, 64, 32)]
    assert read_boxes("no box [1, 2, 3] here", 10, 10) == []


@pytest.mark.parametrize("corners", [(10, 10, 50, 40), (50, 40, 10, 10), (50, 10, 10, 40), (10, 40, 50, 10)])
def test_corners_may_come_in_any_order(corners: tuple[int, int, int, int]) -> None:
    assert spell_boxes([corners], 100, 50) == "[[100, 200, 500, 800]]"
    left, top, right, bottom = (10 * value for value in corners)
    assert read_boxes(f"[[{left}, {2 * top}, {right}, {2 * bottom}]]", 100, 50) == [(10, 10, 50, 40)]


def test_a_box_is_clipped_on_all_sides() -> None:
    assert box_in_picture((-5, -5, 30, 20), 100, 50) == (0, 0, 30, 20)
    assert box_in_picture((90, 40, 300, 400), 100, 50) == (90, 40, 100, 50)
    assert read_boxes("[[-5, 20, 300, 400]]", 1000, 1000) == [(0.0, 20.0, 300.0, 400.0)]
    assert read_boxes("[[+5, -20., 300, 4000.5]]", 1000, 1000) == [(5.0, 0.0, 300.0, 1000.0)]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((200, 200, 300, 300), "lies outside its picture of 100 x 50 px"),
        ((-30, 0, 0, 10), "lies outside"),
        ((10, 50, 20, 60), "lies outside"),
        ((10, 10, 10, 40), "has no area"),
        ((10, 10, 10, 10), "has no area"),
        ((math.nan, 0, 1, 1), "not a finite number"),
        ((0, 0, math.inf, 1), "not a finite number"),
        ((0, 0, 10**400, 1), "not a finite number"),
        (("0", 0, 1, 1), "not a finite number"),
        ((0, None, 1, 1), "not a finite number"),
        ((1, 2, 3), "has 3 numbers"),
        ((1, 2, 3, 4, 90), "has 5 numbers"),
        ((), "has 0 numbers"),
    ],
)
def test_what_is_no_box_is_refused_in_words(box: tuple[float, ...], words: str) -> None:
    with pytest.raises(BoxError, match=words) as caught:
        spell_boxes([(1, 1, 2, 2), box], 100, 50)
    assert str(list(box)) in str(caught.value)


def test_a_picture_without_size_has_no_boxes() -> None:
    with pytest.raises(BoxError, match="0 x 50 px"):
        spell_boxes([(1, 1, 2, 2)], 0, 50)


def test_numbers_that_are_no_box_are_not_read() -> None:
    text = "[10, 10, 10, 40] [7, 7, 7, 7] [2000, 0, 3000, 10] [-9, 0, 0, 9] [1, 2, 3, 4, 5] [nan, 0, 1, 1]"
    assert read_boxes(text, 1000, 1000) == []


def test_a_thin_box_stays_a_box() -> None:
    assert spell_boxes([(500, 0, 500.2, 900)], 1000, 1000) == "[[500, 0, 501, 900]]"
    assert spell_boxes([(999.9, 999.9, 1000, 1000)], 1000, 1000) == "[[999, 999, 1000, 1000]]"


def test_numbers_without_end_are_no_box() -> None:
    assert read_boxes("[" + "9" * 500 + ", 0, 1, 1]", 10, 10) == []


@given(st.lists(st.tuples(*[st.integers(-200, 1200)] * 4), max_size=4), st.integers(1, 5000), st.integers(1, 5000))
def test_reading_undoes_spelling(corners: list[tuple[int, int, int, int]], width_px: int, height_px: int) -> None:
    sides = (width_px, height_px, width_px, height_px)
    boxes = []
    for corner in corners:
        in_px = [part * side / 1000 for part, side in zip(corner, sides, strict=True)]
        try:
            boxes.append(box_in_picture(in_px, width_px, height_px))
        except BoxError:
            continue
    spelled = spell_boxes(boxes, width_px, height_px)
    again = read_boxes(spelled, width_px, height_px)
    assert spell_boxes(again, width_px, height_px) == spelled
    assert len(again) == len(boxes)
    for left, top, right, bottom in again:
        assert 0 <= left < right <= width_px and 0 <= top < bottom <= height_px
