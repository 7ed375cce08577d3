"""Bounding boxes as text: `[[x1, y1, x2, y2]]`, corners in thousandths of the picture's sides.

Owns the text form that NEO's grounding data and evaluation share, written and read. The tokenizer sees plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

SCALE: Final = 1000
"""Value of a corner at the right or bottom side of the picture."""
_NUMBER: Final = r"\s*(\d+(?:\.\d+)?)\s*"
_BOX: Final = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


def spell_boxes(boxes: Sequence[Box], width_px: int, height_px: int) -> str:
    """Write boxes of a picture of this upright size as text; corners are rounded and clipped to the picture.

    >>> spell_boxes([(32, 0, 64, 48)], width_px=64, height_px=48)
    '[[500, 0, 1000, 1000]]'
    """
    sides = (width_px, height_px, width_px, height_px)
    shares = ([value / side for value, side in zip(box, sides, strict=True)] for box in boxes)
    return str([[min(max(round(share * SCALE), 0), SCALE) for share in box] for box in shares])


def read_boxes(text: str, width_px: int, height_px: int) -> list[Box]:
    """All boxes in a text, in pixels of a picture of this size; corners are clipped to it."""
    sides = (width_px, height_px, width_px, height_px)
    boxes = []
    for match in _BOX.finditer(text):
        shares = [min(float(value), SCALE) / SCALE for value in match.groups()]
        left, top, right, bottom = (share * side for share, side in zip(shares, sides, strict=True))
        boxes.append((left, top, right, bottom))
    return boxes
