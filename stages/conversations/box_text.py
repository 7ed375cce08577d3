"""Writes the boxes of a conversation as NEO spells them: `[[x1, y1, x2, y2]]` in thousandths of the picture's sides.

Owns which spellings of boxes are read. Qwen's `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, which is in thousandths
already; and the places `<bbox>` or `<box>` in the text of a record whose `bboxes`, `bbox`, `boxes`, `box` or `objects`
holds the boxes, in pixels unless `bbox_type` says otherwise. `[[x1, y1, x2, y2]]` in a text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from neo_model.inputs.boxes import SCALE, spell_boxes
from stages.conversations.image_references import Record, listed
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.turns import Turn

Size: TypeAlias = tuple[int, int]
"""Width and height of an upright picture, in pixels."""

BOX_FIELDS: Final = ("bboxes", "bbox", "boxes", "box")
"""Fields of a record that may hold its boxes."""
BOX_TYPES: Final = {"real": None, "pixels": None, "norm1": (1, 1), "norm1000": (SCALE, SCALE)}
"""Value of `bbox_type` to the size of a picture in its unit; None is the picture's own size in pixels."""
_PLACE: Final = re.compile(r"<bbox>|<box>(?!\s*[\[(])|<ref-object>")
_NUMBER: Final = r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*"
_CORNERS: Final = rf"\({_NUMBER},{_NUMBER}\)\s{{0,9}},\s{{0,9}}\({_NUMBER},{_NUMBER}\)"
_QWEN: Final = re.compile(rf"(?:<\|box_start\|>|<box>){_CORNERS}(?:<\|box_end\|>|</box>)")
_QWEN_NAME: Final = re.compile(r"<\|object_ref_(?:start|end)\|>")


def spell_in_turns(turns: Sequence[Turn], record: Record, sizes: Sequence[Size | None]) -> list[Turn]:
    """The turns with all boxes of the record as NEO spells them; `sizes` are those of its pictures, None if unknown.

    Raises `UnreadableRecordError` where a box is impossible, or there are more or fewer boxes than places.
    """
    places = sum(len(_PLACE.findall(piece)) for turn in turns for piece in turn.pieces if isinstance(piece, str))
    values = _Values(record, sizes) if places else None
    spelled = [
        replace(
            turn, pieces=tuple(_spelled(piece, values) if isinstance(piece, str) else piece for piece in turn.pieces)
        )
        for turn in turns
    ]
    if values is not None and values.are_left:
        raise UnreadableRecordError(ConversationReason.BOXES)
    return spelled


def needs_sizes(turns: Sequence[Turn]) -> bool:
    """Whether a turn has a place for a box of the record, which needs the size of a picture."""
    return any(_PLACE.search(piece) for turn in turns for piece in turn.pieces if isinstance(piece, str))


def recorded_sizes(record: Record, num_images: int) -> list[Size | None]:
    """The sizes of the pictures that the record itself gives, as the released kit's do: a number, or a list of them."""
    sides = [_per_image(record.get(name), num_images) for name in ("width", "height")]
    return [(width, height) if width and height else None for width, height in zip(*sides, strict=True)]


def _per_image(value: Any, num_images: int) -> list[int | None]:
    values = listed(value) or [value]
    known = [int(text) if (text := str(one).strip()).isdecimal() and len(text) < 7 else None for one in values]
    return known if len(known) == num_images else [None] * num_images


class _Values:
    """The names and boxes of one record, given out in order."""

    def __init__(self, record: Record, sizes: Sequence[Size | None]) -> None:
        held = record.get("objects")
        objects: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
        field = next((name for name in BOX_FIELDS if record.get(name) is not None), None)
        boxes = listed(objects.get("bbox") if objects else record.get(field) if field else None)
        self._boxes: list[Any] = [boxes] if boxes and all(isinstance(one, int | float) for one in boxes) else boxes
        self._names = [str(name) for name in listed(objects.get("ref"))]
        self._kind = str(objects.get("bbox_type") or record.get("bbox_type") or "real")
        self._images = listed(objects.get("image_id"))
        self._sizes = sizes
        self._number = 0
        self.has_boxes = bool(objects) or field is not None

    @property
    def are_left(self) -> bool:
        """Whether a box has no place."""
        return self._number < len(self._boxes)

    def spell(self, place: str) -> str:
        """What stands in the text instead of the next place. Raises `UnreadableRecordError`."""
        if not self.has_boxes:
            return place
        try:
            if place == "<ref-object>":
                return self._names.pop(0)
            box = self._boxes[self._number]
            image = int(self._images[self._number]) if self._images else 0
            self._number += 1
            width_px, height_px = BOX_TYPES[self._kind] or self._sizes[image] or (0, 0)
            return spelled_box(box, width_px, height_px)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise UnreadableRecordError(ConversationReason.BOXES) from error


def spelled_box(box: Any, width_px: int, height_px: int) -> str:
    """One box as text. Raises `UnreadableRecordError` where it is impossible or the size is unknown (0)."""
    try:
        if width_px <= 0 or height_px <= 0 or not isinstance(box, Sequence) or len(box) != 4:
            raise ValueError(f"{box!r} is no box of a picture of {width_px} x {height_px} px")
        left, top, right, bottom = (float(value) for value in box)
        return spell_boxes([(left, top, right, bottom)], width_px, height_px)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableRecordError(ConversationReason.BOXES) from error


def _spelled(text: str, values: _Values | None) -> str:
    def of_qwen(match: re.Match[str]) -> str:
        return spelled_box([float(number) for number in match.groups()], SCALE, SCALE)

    text = _QWEN_NAME.sub("", _QWEN.sub(of_qwen, text))
    return text if values is None else _PLACE.sub(lambda match: values.spell(match[0]), text)
