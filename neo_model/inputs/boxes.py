"""Bounding boxes as text: `[[x1, y1, x2, y2]]`, corners in thousandths of the picture's sides.

Owns the text form that NEO's grounding data and evaluation share, written and read, and which four numbers are a box.
The tokenizer sees plain text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Final

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

SCALE: Final = 1000
"""Value of a corner at the right or bottom side of the picture."""
_NUMBER: Final = r"\s*([-+]?\d{1,9}(?:\.\d{0,9})?)\s*"
_BOX: Final = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


class BoxError(ValueError):
    """Numbers that are no box in their picture; the message has the numbers, the picture's size and what is wrong."""


def box_in_picture(box: Sequence[float], width_px: int, height_px: int) -> Box:
    """A box in pixels with its corners in order and clipped to a picture of this upright size.

    Any two opposite corners may be given, in either order. Raises `BoxError` for what is not four finite numbers, for
    a box without area, and for one that lies outside the picture.

    >>> box_in_picture((50, 40, -10, 10), width_px=100, height_px=50)
    (0, 10, 50, 40)
    """
    if min(width_px, height_px) < 1:
        raise BoxError(f"a picture of {width_px} x {height_px} px has no place for a box")
    if len(box) != 4:
        raise BoxError(f"the box {list(box)} has {len(box)} numbers; a box is 4: left, top, right, bottom")
    if not all(_is_finite(value) for value in box):
        raise BoxError(f"the box {list(box)} has a corner that is not a finite number")
    (left, right), (top, bottom) = sorted((box[0], box[2])), sorted((box[1], box[3]))
    if left == right or top == bottom:
        raise BoxError(f"the box {list(box)} has no area")
    if right <= 0 or bottom <= 0 or left >= width_px or top >= height_px:
        raise BoxError(f"the box {list(box)} lies outside its picture of {width_px} x {height_px} px")
    return max(left, 0), max(top, 0), min(right, width_px), min(bottom, height_px)


def spell_boxes(boxes: Sequence[Sequence[float]], width_px: int, height_px: int) -> str:
    """Write boxes of a picture of this upright size as text: ordered, clipped and rounded; raises `BoxError`.

    A box that is thinner than a thousandth of the picture is spelt one thousandth wide.

    >>> spell_boxes([(32, 0, 64, 48)], width_px=64, height_px=48)
    '[[500, 0, 1000, 1000]]'
    """
    sides = (width_px, height_px, width_px, height_px)
    spelled = []
    for box in boxes:
        inside = box_in_picture(box, width_px, height_px)
        left, top, right, bottom = (round(value / side * SCALE) for value, side in zip(inside, sides, strict=True))
        left, top = min(left, SCALE - 1), min(top, SCALE - 1)
        spelled.append([left, top, max(right, left + 1), max(bottom, top + 1)])
    return str(spelled)


def read_boxes(text: str, width_px: int, height_px: int) -> list[Box]:
    """All boxes in a text, in pixels of a picture of this size, ordered and clipped as `box_in_picture` does.

    Text is what a model answered, so four numbers that are no box in the picture are left out, not refused.
    """
    sides = (width_px, height_px, width_px, height_px)
    boxes = []
    for match in _BOX.finditer(text):
        corners = [float(value) / SCALE * side for value, side in zip(match.groups(), sides, strict=True)]
        try:
            left, top, right, bottom = box_in_picture(corners, width_px, height_px)
        except BoxError:
            continue
        boxes.append((float(left), float(top), float(right), float(bottom)))
    return boxes


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
