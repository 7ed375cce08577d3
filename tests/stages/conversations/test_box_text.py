"""Boxes of a record are written as NEO spells them, and impossible ones are refused."""

from typing import Any

import pytest

from neo_model.inputs.boxes import read_boxes
from stages.conversations.box_text import Size, recorded_sizes, spell_in_turns
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.turns import Turn


def spelled(text: str, record: Any = None, sizes: tuple[Size | None, ...] = ((200, 100),)) -> str:
    (turn,) = spell_in_turns([Turn("assistant", (text,))], record or {}, sizes)
    return "".join(piece for piece in turn.pieces if isinstance(piece, str))


@pytest.mark.parametrize(
    ("text", "record", "wanted"),
    [
        ("a dog at [[10, 20, 30, 40]]", {}, "a dog at [[10, 20, 30, 40]]"),
        ("a <box> of <bbox>", {}, "a <box> of <bbox>"),
        ("<box>[[10, 20, 30, 40]]</box>", {"bbox": None}, "<box>[[10, 20, 30, 40]]</box>"),
        (
            "<|object_ref_start|>a dog<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>!",
            {},
            "a dog[[100, 200, 300, 400]]!",
        ),
        ("<box>(100, 200),(300,400)</box>", {}, "[[100, 200, 300, 400]]"),
        ("at <bbox>", {"bboxes": [[20, 10, 100, 50]]}, "at [[100, 100, 500, 500]]"),
        ("at <box>", {"box": [20, 10, 100, 50]}, "at [[100, 100, 500, 500]]"),
        ("at <bbox>", {"bbox": "[20, 10, 100, 50]"}, "at [[100, 100, 500, 500]]"),
        ("<bbox> and <bbox>", {"boxes": [[0, 0, 200, 100], [20, 10, 100, 50]], "bbox_type": "real"},
         "[[0, 0, 1000, 1000]] and [[100, 100, 500, 500]]"),
        ("<ref-object>: <bbox>", {"objects": {"ref": ["dog"], "bbox": [[0.1, 0.2, 0.3, 0.4]], "bbox_type": "norm1"}},
         "dog: [[100, 200, 300, 400]]"),
        ("<bbox>", {"objects": {"ref": [], "bbox": [[1, 2, 3, 4]], "bbox_type": "norm1000"}}, "[[1, 2, 3, 4]]"),
        ("no place", {"bbox": [[1, 2, 3, 4]]}, "no place"),
    ],
)  # fmt: skip
def test_boxes_are_written_in_thousandths(text: str, record: Any, wanted: str) -> None:
    assert spelled(text, record) == wanted


def test_a_box_is_about_its_own_picture() -> None:
    objects = {"ref": [], "bbox": [[5, 5, 10, 10], [5, 5, 10, 10]], "image_id": [0, 1]}
    got = spelled("<bbox> <bbox>", {"objects": objects}, ((10, 10), (20, 20)))
    assert got == "[[500, 500, 1000, 1000]] [[250, 250, 500, 500]]"
    assert len(read_boxes(got, 10, 10)) == 2


@pytest.mark.parametrize(
    ("text", "record", "sizes"),
    [
        ("<bbox>", {"bbox": [[1, 2, 3, 4]]}, ()),
        ("<bbox>", {"bbox": [[1, 2, 3, 4]]}, (None,)),
        ("<bbox>", {"bbox": [[1, 2, 3]]}, ((10, 10),)),
        ("<bbox>", {"bbox": [["a", 2, 3, 4]]}, ((10, 10),)),
        ("<bbox> <bbox>", {"bbox": [[1, 2, 3, 4]]}, ((10, 10),)),
        ("<bbox>", {"bbox": [[1, 2, 3, 4], [1, 2, 3, 4]]}, ((10, 10),)),
        ("<bbox>", {"bbox": []}, ((10, 10),)),
        ("<bbox>", {"bbox": [[1, 2, 3, 4]], "bbox_type": "feet"}, ((10, 10),)),
        ("<ref-object>", {"objects": {"ref": [], "bbox": []}}, ((10, 10),)),
        ("<bbox>", {"bbox": [[float("nan"), 2, 3, 4]]}, ((10, 10),)),
    ],
)
def test_what_cannot_be_a_box_is_refused(text: str, record: Any, sizes: tuple[Size | None, ...]) -> None:
    with pytest.raises(UnreadableRecordError) as error:
        spelled(text, record, sizes)
    assert error.value.reason is ConversationReason.BOXES


def test_the_record_may_give_the_size_of_its_pictures() -> None:
    assert recorded_sizes({"width": 640, "height": 480}, 1) == [(640, 480)]
    assert recorded_sizes({"width": [640, "320"], "height": [480, 200]}, 2) == [(640, 480), (320, 200)]
    assert recorded_sizes({"width": 640}, 1) == [None]
    assert recorded_sizes({"width": [640], "height": [480]}, 2) == [None, None]
