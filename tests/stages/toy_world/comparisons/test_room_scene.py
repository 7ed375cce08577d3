"""Rooms: a pure function of their name, held-out looks apart, every answer as frequent in held-out rooms."""

from collections import Counter

import pytest

from stages.toy_world.comparisons.room_scene import RoomScene, SpatialKind, is_heldout, room_scene

TRAIN = [room_scene(7, "train", number) for number in range(600)]
HELDOUT = [room_scene(7, "heldout", number) for number in range(144)]


def looks(room: RoomScene) -> tuple[str, str, str, str]:
    one, other = room.shapes
    return one.colour, one.shape, other.colour, other.shape


def test_seed_set_and_number_each_change_the_room() -> None:
    assert room_scene(7, "train", 1) == TRAIN[1]
    assert len({TRAIN[1], TRAIN[2], room_scene(8, "train", 1), HELDOUT[1]}) == 4


def test_no_held_out_combination_is_trained_on() -> None:
    assert {looks(room) for room in TRAIN}.isdisjoint(looks(room) for room in HELDOUT)
    assert all(is_heldout(7, looks(room)) for room in HELDOUT)


@pytest.mark.parametrize("kind", ["how_far", "step"])
def test_each_answer_is_as_frequent_in_held_out_rooms(kind: SpatialKind) -> None:
    counts = Counter(room.answer(kind) for room in HELDOUT)
    assert len(set(counts.values())) == 1
    assert set(counts) == {room.answer(kind) for room in TRAIN}


@pytest.mark.parametrize("kind", ["left_of", "nearer"])
def test_the_first_of_two_shapes_is_right_as_often_as_the_other(kind: SpatialKind) -> None:
    counts = Counter(room.answer(kind) == room.shapes[0].colour for room in HELDOUT)
    assert counts[True] == counts[False]


def test_the_two_shapes_differ_where_they_are_compared() -> None:
    for room in TRAIN:
        one, other = room.shapes
        assert one.colour != other.colour
        assert one.column != other.column
        assert abs(one.distance - other.distance) == 1
        assert (room.places[1] > room.places[0]) == (room.step == "away")
