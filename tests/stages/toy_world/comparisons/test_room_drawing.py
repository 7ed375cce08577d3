"""Rooms as pictures: what is asked about can be measured in them."""

import io

import numpy as np
from PIL import Image

from neo_model.inputs.pictures import num_image_tokens
from stages.toy_world.comparisons.room_drawing import box_from, room_jpeg, view
from stages.toy_world.comparisons.room_scene import HEIGHT_PX, WIDTH_PX, room_scene

ROOMS = [room_scene(7, "train", number) for number in range(200)]


def test_near_shapes_are_larger_and_lower_and_a_step_changes_both() -> None:
    for room in ROOMS:
        near, far = sorted(room.shapes, key=lambda shape: shape.distance)
        sides = {}
        for shape in (near, far):
            boxes = [box_from(shape, place) for place in room.places]
            sides[shape] = [right - left for left, _, right, _ in boxes]
            assert (sides[shape][1] > sides[shape][0]) == (room.step == "closer")
            assert (boxes[1][3] > boxes[0][3]) == (room.step == "closer")
        assert all(one > other for one, other in zip(sides[near], sides[far], strict=True))


def test_columns_order_the_shapes_in_both_views() -> None:
    for room in ROOMS:
        one, other = room.shapes
        for place in room.places:
            centres = [sum(box_from(shape, place)[::2]) / 2 for shape in (one, other)]
            assert (centres[0] < centres[1]) == (room.answer("left_of") == one.colour)


def test_each_view_is_a_small_picture_and_the_two_differ() -> None:
    first, second = (Image.open(io.BytesIO(room_jpeg(ROOMS[0], place))) for place in (0, 1))
    assert first.size == second.size == (WIDTH_PX, HEIGHT_PX)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).mean() > 1
    assert np.abs(np.asarray(first).astype(int) - np.asarray(view(ROOMS[0], 0))).mean() < 3
    assert num_image_tokens(WIDTH_PX, HEIGHT_PX, 4096, 65_536) == 12
