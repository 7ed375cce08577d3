"""Writes the marks of spatial records into their text: points and boxes that questions call by their colours.

SPAR-7M asks about "chair (red point)" and "table (blue bbox)" and gives where these are in fields, in thousandths of
the picture's sides; its own loader paints them on the pictures when it opens them. Pictures here are stored once and
never painted, so a mark is written behind the words that name it first, as NEO spells boxes, with the number of its
picture, counted from 1, where the record has several:

    chair (red point [[395, 89]] in image 1)
    table (blue bbox [[120, 40, 310, 222]])

The fields (known from the set's loader, github.com/fudan-zvg/spar): `red_point`, `green_bbox`, ... [[x, y]] or
[[x1, y1, x2, y2]]; `point_list`, `bbox_list`, [[[...], ...]], called object0, object1, ..., the first point objectA;
`point_img_idx`, `bbox_img_idx`, [[0, 2, 1]], the pictures of the marks, whose order depends on `type` (`ORDERS`). They
stand in the record, or as JSON text in its field `spar_info`, as the set is also handed on. A mark that no text names
is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from neo_model.inputs.boxes import SCALE
from stages.conversations.box_text import spelled_box
from stages.conversations.image_references import Record, listed
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.spatial.numbers import spelled_numbers
from stages.conversations.turns import Turn

COLOURS: Final = ("red", "green", "blue", "yellow")
"""Colours of marks."""
KINDS: Final = {"point": ("point",), "bbox": ("bbox", "bounding box", "box")}
"""Kind of a mark to the words that texts call it by."""
MARK_FIELDS: Final = (
    *(f"{colour}_{kind}" for colour in COLOURS for kind in KINDS),
    *(f"{kind}_{field}" for kind in KINDS for field in ("list", "img_idx")),
)
"""Fields that hold marks and their pictures."""
_MARK_FIELDS: Final = frozenset(MARK_FIELDS)
ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "depth_prediction_oc_mv": ("red", "blue"),
    "depth_prediction_oo_mv": ("red", "blue", "green"),
    "distance_prediction_oc_mv": ("red",),
    "distance_prediction_oo_mv": ("red", "blue"),
    "distance_prediction_oo_video": ("red", "blue"),
    "distance_infer_center_oo_mv": ("red", "green", "blue"),
    "obj_spatial_relation_oo_mv": ("red", "blue", "green"),
    "spatial_imagination_oc_mv": ("green", "blue", "red"),
    "spatial_imagination_oo_mv": ("green", "blue", "red", "yellow"),
    "spatial_imagination_oc_video": ("green", "blue", "red"),
    "spatial_imagination_oo_video": ("green", "blue", "red", "yellow"),
    "obj_frame_locate": ("red",),
    "position_matching": ("red",),
}
"""`type` of a record to the colours in the order of its list of pictures; colours that the record lacks are skipped.
Marks of other types are all on the first picture of the list."""
LABELLED: Final = frozenset({"spatial_imagination_oc_video", "spatial_imagination_oo_video"})
"""Types whose marks are also called object0, object1, ..., in the order of their colours."""


class Mark(NamedTuple):
    """One mark of a record."""

    names: tuple[str, ...]
    """What texts may call it, in lower case."""
    values: Any
    """[x, y] or [x1, y1, x2, y2] in thousandths, as the record has them."""
    image: int
    """Its picture, counted from 0."""


def mark_fields(record: Record) -> dict[str, Any]:
    """The fields of a record that have to do with its marks; {} where it has none."""
    held = record.get("spar_info")
    if isinstance(held, str):
        try:
            held = json.loads(held)
        except (ValueError, RecursionError):
            held = None
    fields = {**record, **held} if isinstance(held, Mapping) else record
    if _MARK_FIELDS.isdisjoint(fields):
        return {}
    found = {name: fields[name] for name in MARK_FIELDS if fields.get(name) is not None}
    return {**found, "type": fields.get("type")} if found else {}


def marked(turns: Sequence[Turn], record: Record, num_images: int) -> list[Turn]:
    """The turns with each mark behind the words of the user that name it first.

    Raises `UnreadableRecordError` where a mark that is named is impossible or on no picture.
    """
    fields = mark_fields(record)
    if not fields:
        return list(turns)
    waiting = list(_marks(fields))
    changed: list[Turn] = []
    for turn in turns:
        pieces = list(turn.pieces)
        for number, piece in enumerate(pieces):
            if turn.role == "user" and isinstance(piece, str) and waiting:
                pieces[number], waiting = _written(piece, waiting, num_images)
        changed.append(replace(turn, pieces=tuple(pieces)))
    return changed


def _written(text: str, marks: Sequence[Mark], num_images: int) -> tuple[str, list[Mark]]:
    """The text with the marks that it names, and the marks that it does not name."""
    places: list[tuple[int, str]] = []
    left: list[Mark] = []
    for mark in marks:
        found = re.search(rf"\b(?:{'|'.join(map(re.escape, mark.names))})\b(?!\s*\[\[)", text, re.IGNORECASE)
        if found is None:
            left.append(mark)
        else:
            places.append((found.end(), _spelled(mark, num_images)))
    for end, words in sorted(places, reverse=True):
        text = f"{text[:end]} {words}{text[end:]}"
    return text, left


def _spelled(mark: Mark, num_images: int) -> str:
    values = mark.values
    if not 0 <= mark.image < num_images or not isinstance(values, Sequence) or isinstance(values, str):
        raise UnreadableRecordError(ConversationReason.BOXES)
    if len(values) == 4:
        place = spelled_box(values, SCALE, SCALE)
    else:
        if len(values) != 2 or not all(_is_within(value) for value in values):
            raise UnreadableRecordError(ConversationReason.BOXES)
        place = spelled_numbers([values])
    return place if num_images == 1 else f"{place} in image {mark.image + 1}"


def _is_within(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SCALE


def _marks(fields: Mapping[str, Any]) -> Iterator[Mark]:
    told = fields.get("type")
    kind_of_record = told if isinstance(told, str) else ""
    order = ORDERS.get(kind_of_record, ())
    for kind, words in KINDS.items():
        images = _unwrapped(listed(fields.get(f"{kind}_img_idx")))
        present = [colour for colour in order if fields.get(f"{colour}_{kind}") is not None]
        for colour in COLOURS:
            values = fields.get(f"{colour}_{kind}")
            if values is not None:
                number = present.index(colour) if colour in present else 0
                names = [f"{colour} {word}" for word in words]
                if kind_of_record in LABELLED and colour in present:
                    names.append(f"object{number}")
                yield Mark(tuple(names), _unwrapped(listed(values)), _image(images, number))
        for number, values in enumerate(_unwrapped(listed(fields.get(f"{kind}_list")))):
            label = number - 1 if kind == "point" else number
            yield Mark((f"object{'A' if label < 0 else label}".lower(),), values, _image(images, number))


def _image(images: Sequence[Any], number: int) -> int:
    """The picture of a mark; the first where the record lists none, and none where its list is too short."""
    if not images:
        return 0
    image = images[number] if number < len(images) else None
    return image if isinstance(image, int) and not isinstance(image, bool) else -1


def _unwrapped(values: list[Any]) -> list[Any]:
    """A list without the list that the set wraps around it: [[395, 89]] is [395, 89]."""
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values
