"""Boxes are spelt in thousandths and read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neo_model.inputs.boxes import read_boxes, spell_boxes


def test_the_released_spelling() -> None:
    assert spell_boxes([(10, 20, 50, 80)], 100, 200) == "[[100, 100, 500, 400]]"
    assert spell_boxes([(0, 0, 1, 1), (1, 1, 2, 2)], 2, 2) == "[[0, 0, 500, 500], [500, 500, 1000, 1000]]"
    assert spell_boxes([(-5, 0, 300, 10)], 200, 10) == "[[0, 0, 1000, 1000]]"


def test_boxes_are_found_in_answers() -> None:
    assert read_boxes("The dog is at [[100, 100, 500, 400]].", 100, 200) == [(10, 20, 50, 80)]
    assert read_boxes("[ 0,0 , 1000.0, 2000 ]", 64, 32) == [(0, 0, 64, 32)]
    assert read_boxes("no box [1, 2, 3] here", 10, 10) == []


@given(st.lists(st.tuples(*[st.integers(0, 1000)] * 4), max_size=4), st.integers(1, 5000), st.integers(1, 5000))
def test_reading_undoes_spelling(boxes: list[tuple[int, int, int, int]], width_px: int, height_px: int) -> None:
    sides = (width_px, height_px, width_px, height_px)
    in_px = [tuple(part * side / 1000 for part, side in zip(box, sides, strict=True)) for box in boxes]
    again = read_boxes(spell_boxes(in_px, width_px, height_px), width_px, height_px)  # type: ignore[arg-type]
    assert spell_boxes(again, width_px, height_px) == spell_boxes(in_px, width_px, height_px)  # type: ignore[arg-type]
    assert len(again) == len(boxes)
