"""Marks of spatial records stand behind the words that name them, on the picture that they are on."""

import json
from typing import Any

import pytest

from stages.conversations.reasons import ConversationReason as Why
from stages.conversations.reasons import UnreadableRecordError
from stages.conversations.spatial.marks import mark_fields, marked
from stages.conversations.turns import Turn


def written(text: str, record: dict[str, Any], num_images: int) -> str:
    turns = [Turn("user", (text,)), Turn("assistant", (text,))]
    first, second = marked(turns, record, num_images)
    assert second.pieces == (text,)
    (piece,) = first.pieces
    assert isinstance(piece, str)
    return piece


SPAR: dict[str, Any] = {
    "red_point": [[395, 89]],
    "blue_point": [[494, 620]],
    "green_point": [[878, 737]],
    "point_img_idx": [[0, 2, 1]],
    "type": "depth_prediction_oo_mv",
}
ASKED = "The box (red point) is 2.0 deep. And chair (green point), against table (blue point)? The red point is a mark."


def test_points_of_several_views() -> None:
    """For this type the list of pictures is that of the red, the blue and the green point."""
    told = written(ASKED, SPAR, 3)
    assert told == (
        "The box (red point [[395, 89]] in image 1) is 2.0 deep. And chair (green point [[878, 737]] in image 2), "
        "against table (blue point [[494, 620]] in image 3)? The red point is a mark."
    )
    assert written(ASKED, {"spar_info": json.dumps(SPAR)}, 3) == told


@pytest.mark.parametrize(
    ("text", "record", "num_images", "told"),
    [
        ("a chair (Red BBox)?", {"red_bbox": [[1, 20, 300, 999]]}, 1, "a chair (Red BBox [[1, 20, 300, 999]])?"),
        ("the red bounding box", {"red_bbox": [1, 20, 300, 999]}, 1, "the red bounding box [[1, 20, 300, 999]]"),
        ("the red point", {"red_point": [[0.5, 7]]}, 1, "the red point [[0.5, 7]]"),
        ("nothing", {"red_point": [[5, 7]]}, 1, "nothing"),
        ("the red point", {"blue_point": [[5, 7]]}, 1, "the red point"),
        ("the red point [[5, 7]]", {"red_point": [[5, 7]]}, 1, "the red point [[5, 7]]"),
        ("Object0 and object1", {"bbox_list": [[[1, 2, 3, 4], [5, 6, 7, 8]]], "bbox_img_idx": [[1, 0]]}, 2,
         "Object0 [[1, 2, 3, 4]] in image 2 and object1 [[5, 6, 7, 8]] in image 1"),
        ("objectA, object0", {"point_list": [[[1, 2], [3, 4]]], "point_img_idx": [[0, 1]]}, 2,
         "objectA [[1, 2]] in image 1, object0 [[3, 4]] in image 2"),
        ("object1?", {"green_bbox": [[1, 2, 3, 4]], "blue_bbox": [[5, 6, 7, 8]], "bbox_img_idx": [[0, 1]],
                      "type": "spatial_imagination_oc_video"}, 2, "object1 [[5, 6, 7, 8]] in image 2?"),
        ("blue bbox, green bbox", {"blue_bbox": [[1, 2, 3, 4]], "green_bbox": [[5, 6, 7, 8]], "bbox_img_idx": [[1, 0]],
                                   "type": "obj_spatial_relation_oo_mv"}, 2,
         "blue bbox [[1, 2, 3, 4]] in image 2, green bbox [[5, 6, 7, 8]] in image 1"),
    ],
)  # fmt: skip
def test_marks_in_other_forms(text: str, record: dict[str, Any], num_images: int, told: str) -> None:
    assert written(text, record, num_images) == told


@pytest.mark.parametrize(
    ("record", "num_images"),
    [
        ({"red_point": [[5, 7]]}, 0),
        ({"red_point": [[5, 1007]]}, 1),
        ({"red_point": [[5, -1]]}, 1),
        ({"red_point": [[5]]}, 1),
        ({"red_point": [[True, 5]]}, 1),
        ({"red_point": "here"}, 1),
        ({"red_point": [[5, 7]], "point_img_idx": [[3]]}, 2),
        ({"red_point": [[5, 7]], "point_img_idx": [["a"]]}, 2),
        ({"red_bbox": [[9, 9, float("nan"), 1]]}, 1),
    ],
)
def test_an_impossible_mark_that_is_named_is_refused(record: dict[str, Any], num_images: int) -> None:
    assert written("nothing", record, num_images) == "nothing"
    with pytest.raises(UnreadableRecordError) as error:
        written("the red point and the red bbox", record, num_images)
    assert error.value.reason is Why.BOXES


def test_fields_without_marks_are_none() -> None:
    assert mark_fields({"type": "obj_count", "spar_info": "{", "red_point": None}) == {}
    assert mark_fields({"spar_info": "7"}) == {}
