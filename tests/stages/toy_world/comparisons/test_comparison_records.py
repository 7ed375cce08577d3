"""The rows about pairs and rooms: two pictures each, answers that agree with what is shown."""

from stages.toy_world.addresses import address_of, room_address_of
from stages.toy_world.comparisons.comparison_records import (
    pair_conversations,
    pair_questions,
    room_conversations,
    room_questions,
)
from stages.toy_world.comparisons.room_scene import SPATIAL_KINDS, room_scene
from stages.toy_world.records import shown_scene
from stages.toy_world.scene import ANSWERS, scene
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_pairs=30, num_heldout_pairs=12, num_rooms=20, num_heldout_rooms=6)
HOST = "http://toy.invalid"


def told(messages: list[dict[str, str]]) -> dict[str, str]:
    questions = (message["content"].removeprefix("<image>\n<image>\n") for message in messages[::2])
    return dict(zip(questions, (message["content"] for message in messages[1::2]), strict=True))


def test_pairs_are_compared_rightly() -> None:
    for talk in pair_conversations(WORLD):
        addresses = [address_of(url.removeprefix(HOST)) for url in talk["images"]]
        one, other = (shown_scene(7, address.number) for address in addresses if address is not None)
        answers = told(talk["messages"])
        assert len(answers) == 2
        more = max((one, other), key=lambda shown: ANSWERS["count"].index(shown.count))
        assert answers[f"Which are more, the {one.colour} or the {other.colour} shapes?"] == more.colour
        [question] = [asked for asked in answers if not asked.startswith("Which are more")]
        comparison = question.removeprefix("Which are ").partition(",")[0]
        side = {"further left": "left", "higher": "top"}[comparison]
        assert [shown.colour for shown in (one, other) if shown.position == side] == [answers[question]]


def test_rooms_are_seen_from_two_places() -> None:
    talks = list(room_conversations(WORLD))
    assert len(talks) == WORLD.num_rooms
    for number, talk in enumerate(talks):
        views = [room_address_of(url.removeprefix(HOST)) for url in talk["images"]]
        assert [(view.number, view.view) for view in views if view is not None] == [(number, 0), (number, 1)]
        assert set(told(talk["messages"]).values()) >= {room_scene(7, "train", number).answer("step")}


def test_questions_are_about_held_out_pictures_and_end_in_their_answers() -> None:
    questions = [*pair_questions(WORLD), *room_questions(WORLD)]
    assert len(questions) == 2 * WORLD.num_heldout_pairs + len(SPATIAL_KINDS) * WORLD.num_heldout_rooms
    assert all(question["messages"][-1]["content"] == question["answer"] for question in questions)
    assert all("/heldout" in url for question in questions for url in question["images"])
    first = scene(7, "heldout", int(questions[0]["images"][0][-10:-4]))
    assert first.count in ANSWERS["count"]
