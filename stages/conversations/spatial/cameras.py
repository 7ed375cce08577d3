"""Writes what a record says of its cameras into its text: intrinsics, poses and depths, as numbers.

They are written where the text has a place for them, `<intrinsics>`, `<pose>` or `<depth>`, of which each takes the
next value of its field; and where the recipe asks, as lines before the words of the first question:

    Camera intrinsics: [[577.59, 0, 318.9], [0, 578.73, 242.68], [0, 0, 1]]
    Camera pose of image 2: [[0.99, 0.01, 0, 1.2], [-0.01, 0.99, 0, 0.4], [0, 0, 1, 1.5], [0, 0, 0, 1]]
    Depth of image 2: 1.53

One value for all pictures has no number of a picture. Matrices are written as the record has them: of which form they
are (camera to world or back, metres or millimetres) is what their set says, and not known here. Fields that hold names
of files (SPAR-7M-RGBD) are passed over: no file is read. The spellings of the fields are inferred from kits that hand
such sets on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from stages.conversations.image_references import Record, listed
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.spatial.numbers import depth_of, is_number, spelled_numbers
from stages.conversations.turns import Piece, Turn

CameraField: TypeAlias = Literal["intrinsics", "poses", "depths"]
"""What a record may say of its cameras."""
CAMERA_FIELDS: Final[Mapping[CameraField, tuple[str, ...]]] = {
    "intrinsics": ("intrinsics", "intrinsic", "camera_intrinsics", "camera_intrinsic"),
    "poses": ("poses", "pose", "extrinsics", "extrinsic", "camera_poses", "camera_pose"),
    "depths": ("depths", "depth"),
}
"""Kind to the fields that may hold it; the first that holds numbers counts."""
_ALL_FIELDS: Final = frozenset(name for names in CAMERA_FIELDS.values() for name in names)
_DEPTH_OF_ONE: Final = {"intrinsics": 2, "poses": 2, "depths": 0}
_WORDS: Final = {"intrinsics": "Camera intrinsics", "poses": "Camera pose", "depths": "Depth"}
_PLACES: Final[Mapping[str, CameraField]] = {"<intrinsics>": "intrinsics", "<pose>": "poses", "<depth>": "depths"}
_PLACE: Final = re.compile("|".join(_PLACES))


def camera_fields(record: Record) -> dict[str, Any]:
    """The fields of a record that hold numbers of its cameras, under the names of their kinds."""
    if _ALL_FIELDS.isdisjoint(record):
        return {}
    found = {kind: list(_values(record, kind)) for kind in CAMERA_FIELDS}
    return {kind: values for kind, values in found.items() if values}


def with_cameras(
    turns: Sequence[Turn], record: Record, num_images: int, asked_for: Sequence[CameraField] = ()
) -> list[Turn]:
    """The turns with the numbers of the cameras at their places, and those that are `asked_for` before the first
    question.

    Raises `UnreadableRecordError` where a place has no value, a value that is asked for is missing, or there are as
    many values neither as pictures nor one for all.
    """
    is_held = not _ALL_FIELDS.isdisjoint(record)
    texts = (piece for turn in turns for piece in turn.pieces if isinstance(piece, str))
    if not asked_for and not (is_held and any(map(_PLACE.search, texts))):
        return list(turns)
    waiting = {kind: _values(record, kind) for kind in CAMERA_FIELDS}
    filled = [replace(turn, pieces=tuple(_filled(piece, waiting) for piece in turn.pieces)) for turn in turns]
    lines = [line for kind in asked_for for line in _lines(kind, list(_values(record, kind)), num_images)]
    return _with_lines(filled, lines) if lines else filled


def _values(record: Record, kind: CameraField) -> Iterator[Any]:
    """The values of one kind: matrices of intrinsics and poses, numbers of depths."""
    for name in CAMERA_FIELDS[kind]:
        value = record.get(name)
        value = listed(value) if isinstance(value, str) and not is_number(value) else value
        depth, of_one = depth_of(value), _DEPTH_OF_ONE[kind]
        if depth == of_one:
            yield value
            return
        if depth == of_one + 1 and isinstance(value, Sequence):
            yield from value
            return


def _filled(piece: Piece, waiting: Mapping[CameraField, Iterator[Any]]) -> Piece:
    def value_at(match: re.Match[str]) -> str:
        value = next(waiting[_PLACES[match[0]]], None)
        if value is None:
            raise UnreadableRecordError(ConversationReason.GEOMETRY)
        return spelled_numbers(value)

    return _PLACE.sub(value_at, piece) if isinstance(piece, str) else piece


def _lines(kind: CameraField, values: Sequence[Any], num_images: int) -> Iterator[str]:
    if len(values) not in (1, num_images):
        raise UnreadableRecordError(ConversationReason.GEOMETRY)
    for number, value in enumerate(values, 1):
        of_image = f" of image {number}" if len(values) > 1 else ""
        yield f"{_WORDS[kind]}{of_image}: {spelled_numbers(value)}"


def _with_lines(turns: Sequence[Turn], lines: Sequence[str]) -> list[Turn]:
    """The turns with these lines before the last text of the first turn of the user, which is what it asks."""
    first = next(number for number, turn in enumerate(turns) if turn.role == "user")
    *before, last = turns[first].pieces
    told = "\n".join(lines)
    if isinstance(last, str):
        asked = last.lstrip()
        lead = last[: len(last) - len(asked)] or ("\n" if before and _is_tag(before[-1]) else "")
        pieces = [*before, f"{lead}{told}\n{asked}"]
    else:
        pieces = [*before, last, f"\n{told}" if _is_tag(last) else told]
    led = replace(turns[first], pieces=tuple(pieces))
    return [led if number == first else turn for number, turn in enumerate(turns)]


def _is_tag(piece: Piece) -> bool:
    return not isinstance(piece, str) and piece.is_tag
