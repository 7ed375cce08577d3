"""Numbers of cameras stand where a text has a place for them, or where a recipe asks, exactly as they were given."""

import json
from typing import Any

import pytest

from stages.conversations.reasons import ConversationReason as Why
from stages.conversations.reasons import UnreadableRecordError
from stages.conversations.spatial.cameras import CameraField, camera_fields, with_cameras
from stages.conversations.turns import PictureHere, Turn

K = [[577.590698, 0, 318.905426], [0, 578.729797, 242.683609], [0, 0, 1]]
POSE = [[1, 0, 0, "1.50"], [0, 1, 0, 0.1], [0, 0, 1, -1e-07], [0, 0, 0, 1]]
SPELLED_K = "[[577.590698, 0, 318.905426], [0, 578.729797, 242.683609], [0, 0, 1]]"
SPELLED_POSE = "[[1, 0, 0, 1.50], [0, 1, 0, 0.1], [0, 0, 1, -1e-07], [0, 0, 0, 1]]"


def told(text: str, record: dict[str, Any], *asked: CameraField, num_images: int = 1) -> str:
    pictures = tuple(PictureHere(None, is_tag=True) for _ in range(num_images))
    first, _ = with_cameras([Turn("user", (*pictures, text)), Turn("assistant", ("a",))], record, num_images, asked)
    piece = first.pieces[-1]
    assert isinstance(piece, str)
    return piece


def test_a_text_has_places() -> None:
    record = {"intrinsics": K, "pose": json.dumps([POSE, POSE]), "depth": 1.25}
    assert told("K is <intrinsics>. From <pose> to <pose>, <depth> m.", record, num_images=2) == (
        f"K is {SPELLED_K}. From {SPELLED_POSE} to {SPELLED_POSE}, 1.25 m."
    )
    assert told("A <pose> is what?", {"id": 1}) == "A <pose> is what?"
    assert told("Where?", record) == "Where?"


def test_a_recipe_asks() -> None:
    record = {"intrinsic": K, "camera_poses": [POSE, POSE], "depths": ["2.50", 3]}
    assert told("\nWhere?", record, "intrinsics", "depths", num_images=2) == (
        f"\nCamera intrinsics: {SPELLED_K}\nDepth of image 1: 2.50\nDepth of image 2: 3\nWhere?"
    )
    assert told("Where?", record, "poses", num_images=2) == (
        f"\nCamera pose of image 1: {SPELLED_POSE}\nCamera pose of image 2: {SPELLED_POSE}\nWhere?"
    )


@pytest.mark.parametrize(
    ("text", "record", "asked", "num_images"),
    [
        ("Where?", {}, ("poses",), 1),
        ("Where?", {"poses": [POSE, POSE]}, ("poses",), 3),
        ("Where?", {"pose": ["1.txt"]}, ("poses",), 1),
        ("From <pose> to <pose>", {"pose": POSE}, (), 1),
        ("Where?", {"pose": [[float("nan")]]}, ("poses",), 1),
        ("Where?", {"pose": [[1] * 17] * 17}, ("poses",), 1),
    ],
)
def test_what_is_missing_is_a_reason(text: str, record: dict[str, Any], asked: Any, num_images: int) -> None:
    with pytest.raises(UnreadableRecordError) as error:
        told(text, record, *asked, num_images=num_images)
    assert error.value.reason is Why.GEOMETRY


def test_only_numbers_are_kept_of_a_record() -> None:
    assert camera_fields({"depth": "depth/1.png", "pose": [["a"]], "intrinsic": K}) == {"intrinsics": [K]}
    assert camera_fields({"depths": [1, [2]], "poses": {"a": 1}}) == {}
