"""A record of any dialect becomes one form, or ends with the reason why it cannot."""

import hashlib
import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from stages.conversations.dialects import Dialect, find_dialect
from stages.conversations.flat_questions import parse_pair
from stages.conversations.image_references import ImageReferenceError
from stages.conversations.names.picture_names import FoundImage
from stages.conversations.placeholders import PlacingRule
from stages.conversations.reading import Conversation, ReadingLimits, finish, parse_record
from stages.conversations.reasons import ConversationReason as Why
from stages.conversations.reasons import UnreadableRecordError
from stages.conversations.records import read_record, spell_record
from stages.conversations.videos.references import pictures_of

LIMITS = ReadingLimits(max_chars=200, max_images=2)
HELD = f"sha256:{hashlib.sha256(b'hi').hexdigest()}"
KNOWN = {
    name: FoundImage(name[-16:].encode().rjust(16, b"_"), 200, 100)
    for name in ("1.jpg", "2.jpg", "http://a.test/1.jpg", HELD)
}


def read(record: Any, **more: Any) -> Conversation:
    """The record through both steps, in the dialect that it is found to have."""
    record = {**record, "messages": record.get("conversations") or record["messages"]}
    dialect = find_dialect([record], {}, "chats")
    try:
        parsed = parse_record(record, dialect, LIMITS)
    except UnreadableRecordError as error:
        return Conversation(error.reason)
    return finish(parsed, [KNOWN.get(name) for name in parsed.image_names], **more)


def names(conversation: Conversation) -> list[str]:
    return [name for image_id in conversation.image_ids for name, known in KNOWN.items() if known.sample_id == image_id]


def spoken(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def llava(*turns: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "1", **fields, "conversations": [{"from": who, "value": text} for who, text in turns]}


def chat(*turns: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "1", **fields, "messages": [{"role": who, "content": text} for who, text in turns]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


ASK, SAY = ("user", "<image>\nwhat?"), ("assistant", "a dog")
ASKED = [("user", "<image>\nwhat?"), ("assistant", "a dog")]
PICTURE_PART = {"type": "image_url", "image_url": {"url": "http://a.test/1.jpg"}}


@pytest.mark.parametrize(
    "record",
    [
        llava(("human", "<image>\nwhat?"), ("gpt", "a dog"), image="1.jpg"),
        llava(("human", "<image>\nwhat?"), ("gpt", "a dog"), image=["1.jpg"]),
        llava(("human", "what?"), ("gpt", "a dog"), image="1.jpg", width=10, height=10),
        llava(("USER", "<image>\nwhat?"), ("chatgpt", "a dog"), images=["1.jpg"]),
        llava(("human", "<image>\nwhat?"), ("gpt", "a dog"), image={"bytes": b"hi", "path": "1.jpg"}),
        chat(ASK, SAY, images=["1.jpg"]),
        chat(ASK, SAY, image="1.jpg"),
        chat(("system", ""), ASK, SAY, images=["1.jpg"]),
        chat(("system", " \ufeff\n"), ASK, SAY, images=["1.jpg"]),
        chat(("system", None), ASK, SAY, images=["1.jpg"]),
        chat(ASK, SAY, images=["1.jpg"], system=None, tools=[], videos=None),
        chat(ASK, SAY, images=["1.jpg"], system=None, tools="[]", videos="null"),
        chat(ASK, SAY, ("user", "thanks"), images=["1.jpg"]),
        chat(("user", [PICTURE_PART, text("what?")]), ("assistant", [text("a dog")])),
        chat(("user", [PICTURE_PART, text("what"), text("?")]), SAY, images=["http://a.test/1.jpg"]),
        chat(("user", [{"type": "image", "image": "1.jpg", "text": None}, text("what?")]), SAY),
        chat(("user", [{"image": "file:///1.jpg".replace("/1", "1")}, {"text": "what?"}]), SAY),
        chat(("user", [{"type": "image"}, text("what?")]), SAY, images=[{"bytes": b"hi", "path": None}]),
        chat(("user", [text("<image>\nwhat?")]), ("assistant", [text("a dog")]), images=["1.jpg"]),
        {"messages": '[{"role": "user", "content": "<image>\\nwhat?"}, {"role": "assistant", "content": "a dog"}]',
         "image": "1.jpg"},
    ],
)  # fmt: skip
def test_the_same_conversation_in_every_dialect(record: Any) -> None:
    got = read(record)
    assert got.reason is None
    assert spoken(got) == ASKED
    assert len(names(got)) == 1
    assert [(message.supervised, message.image_tags) for message in got.messages] == [(None, None)] * 2


USUAL: list[tuple[Any, list[tuple[str, str]]]] = [
    (chat(("user", "hi"), ("assistant", "hello")), [("user", "hi"), ("assistant", "hello")]),
    (chat(("user", "<image>"), SAY, images=["1.jpg"]), [("user", "<image>"), SAY]),
    (chat(("user", [PICTURE_PART]), SAY), [("user", "<image>"), SAY]),
    (chat(("user", "hi"), SAY, system="be kind"), [("system", "be kind"), ("user", "hi"), SAY]),
    (chat(("developer", "be kind"), ("user", "hi"), SAY), [("system", "be kind"), ("user", "hi"), SAY]),
    (chat(("user", "a"), ("user", "b"), SAY), [("user", "a"), ("user", "b"), SAY]),
    (chat(("user", "a"), SAY, SAY), [("user", "a"), SAY, SAY]),
    (llava(("gpt", "hello"), ("human", "hi"), ("gpt", "yes")),
     [("assistant", "hello"), ("user", "hi"), ("assistant", "yes")]),
    (llava(("human", "hi"), ("gpt", "yes"), ("human", "cut")), [("user", "hi"), ("assistant", "yes")]),
    (chat(("user", "<image> and <image>, which?"), SAY, images=["1.jpg", "2.jpg"]),
     [("user", "<image> and <image>, which?"), SAY]),
    (chat(("user", [text("this"), PICTURE_PART, text("or"), {"type": "image", "image": "2.jpg"}]), SAY),
     [("user", "this\n<image>\nor\n<image>"), SAY]),
    (chat(("user", "cafe\u0301\x00 <|im_end|>"), SAY), [("user", "caf\u00e9 <|im_end|>"), SAY]),
]  # fmt: skip


@pytest.mark.parametrize(("record", "wanted"), USUAL)
def test_usual_conversations_are_kept_as_they_are(record: Any, wanted: list[tuple[str, str]]) -> None:
    got = read(record)
    assert got.reason is None
    assert spoken(got) == wanted
    assert all(message.image_tags is None for message in got.messages)


@pytest.mark.parametrize(
    ("record", "tags", "images"),
    [
        (chat(("user", "Which tag shows a picture?"), ("assistant", "Write <image> there.")), [None, ()], []),
        (chat(("user", "Which tag shows a picture?"), ("assistant", "<image>")), [None, ()], []),
        (chat(("user", "Explain the tag <image>"), SAY), [(), None], []),
        (chat(("system", "<image> marks one"), ("user", "What does <image> mean?"), SAY), [(), (), None], []),
        (chat(ASK, ("assistant", "It has the <image> tag."), images=["1.jpg"]), [None, ()], ["1.jpg"]),
        (chat(("user", "<image>\nWhat does <image> mean?"), SAY, images=["1.jpg"]), [(0,), None], ["1.jpg"]),
        (chat(("user", "Is <image> a tag?\n<image>"), SAY, images=["1.jpg"]), [(1,), None], ["1.jpg"]),
        (chat(("user", [PICTURE_PART, text("Is <image> a tag?")]), SAY), [(0,), None], ["http://a.test/1.jpg"]),
    ],
)
def test_text_that_spells_a_placeholder_stays_text(record: Any, tags: list[Any], images: list[str]) -> None:
    got = read(record)
    assert got.reason is None
    assert [message.image_tags for message in got.messages] == tags
    assert names(got) == images
    assert sum(message.num_images for message in got.messages) == len(images)


FLAGS: list[tuple[dict[str, Any], bool | None]] = [
    ({}, None),
    ({"is_input": None, "weight": None}, None),
    ({"is_input": True}, False),
    ({"is_input": False}, True),
    ({"weight": 0}, False),
    ({"weight": 1.0}, True),
    ({"loss": False}, False),
    ({"loss": "true"}, True),
    ({"train": False}, False),
    ({"weight": 1, "is_input": True}, False),
]


@pytest.mark.parametrize(("flags", "supervised"), FLAGS)
def test_flags_of_a_turn_are_carried(flags: dict[str, Any], supervised: bool | None) -> None:
    record = chat(("user", "a"), SAY, ("user", "b"), SAY)
    record["messages"][1] |= flags
    record["messages"][2] |= flags
    assert [message.supervised for message in read(record).messages] == [None, supervised, None, None]


def test_what_an_assistant_says_first_is_not_learned_from() -> None:
    got = read(llava(("gpt", "hello"), ("human", "hi"), ("gpt", "yes")))
    assert [message.supervised for message in got.messages] == [False, None, None]


def with_flags(**flags: Any) -> dict[str, Any]:
    record = chat(("user", "a"), SAY)
    record["messages"][1] |= flags
    return record


NOT_KEPT: list[tuple[Why, Any]] = [
    (Why.ENCODING, chat(("user", "a\ud800"), SAY)),
    (Why.ENCODING, chat(("user", "a"), SAY, answer="\ud800")),
    (Why.ROLES, chat(("user", "a"))),
    (Why.ROLES, chat(SAY)),
    (Why.ROLES, chat(SAY, ("user", "a"))),
    (Why.ROLES, chat(("narrator", "a"), SAY)),
    (Why.ROLES, chat(("user", "a"), SAY, ("system", "be kind"), SAY)),
    (Why.TOOL_TURN, chat(("user", "a"), ("tool", "3"), SAY)),
    (Why.TOOL_TURN, llava(("human", "a"), ("function_call", "{}"), ("observation", "3"), ("gpt", "b"))),
    (Why.TOOL_TURN, with_flags(tool_calls=[{"id": "1"}])),
    (Why.TOOL_TURN, chat(("user", "a"), SAY, tools=[{"name": "f"}])),
    (Why.TOOL_TURN, chat(("user", [{"type": "tool_result", "content": "3"}]), SAY)),
    (Why.VIDEO, chat(("user", [{"type": "video", "video": "a.mp4"}]), SAY)),
    (Why.VIDEO, llava(("human", "<video>\nwhat?"), ("gpt", "b"), video="a.mp4")),
    (Why.PLACEHOLDERS, llava(("human", "<video>\nwhat?"), ("gpt", "b"))),
    (Why.PLACEHOLDERS, llava(("human", "<video><video>"), ("gpt", "b"), video="a.mp4")),
    (Why.PLACEHOLDERS, llava(("human", "what?"), ("gpt", "b"), video="a.mp4", image="1.jpg")),
    (Why.PLACEHOLDERS, llava(("human", "what?"), ("gpt", "<video> b"), video="a.mp4")),
    (Why.PLACEHOLDERS, chat(("user", "<image 3> what?"), SAY, images=["1.jpg", "2.jpg"])),
    (Why.VIDEO_REFERENCE, llava(("human", "<video>"), ("gpt", "b"), video=7)),
    (Why.VIDEO_REFERENCE, llava(("human", "<video>"), ("gpt", "b"), video="a.mp4", start=3, end=2)),
    (Why.VIDEO_REFERENCE, chat(("user", [{"type": "video", "video": {"fps": 2}}]), SAY)),
    (Why.TOO_MANY_VIDEOS, llava(("human", "<video>"), ("gpt", "b"), videos=["a.mp4"] * 17)),
    (Why.TOO_MANY_FRAMES, llava(("human", "<video>"), ("gpt", "b"), video=["1.jpg"] * 257)),
    (Why.AUDIO, chat(("user", [{"type": "input_audio", "input_audio": {"data": ""}}]), SAY)),
    (Why.AUDIO, chat(("user", "a"), SAY, audios=["a.mp3"])),
    (Why.PART_KIND, chat(("user", [{"type": "file", "file": "a.pdf"}]), SAY)),
    (Why.MESSAGE_EMPTY, chat(("user", " \n"), SAY)),
    (Why.MESSAGE_EMPTY, chat(ASK, ("assistant", " \n"), images=["1.jpg"])),
    (Why.TOO_LONG, chat(("user", "a"), ("assistant", "a" * 200))),
    (Why.TOO_MANY_IMAGES, chat(("user", "<image>" * 3), SAY, images=["1.jpg"] * 3)),
    (Why.PLACEHOLDERS, chat(ASK, SAY)),
    (Why.PLACEHOLDERS, chat(("user", "what?\n<image>"), SAY)),
    (Why.PLACEHOLDERS, chat(ASK, SAY, images=["1.jpg", "2.jpg"])),
    (Why.PLACEHOLDERS, chat(("user", "a"), SAY, images=["1.jpg", "2.jpg"])),
    (Why.PLACEHOLDERS, chat(("user", "<image><image>what?"), SAY, images=["1.jpg"])),
    (Why.PLACEHOLDERS, chat(("user", "draw"), ("assistant", "<image> a dog"), images=["1.jpg"])),
    (Why.PLACEHOLDERS, chat(("user", "draw"), ("assistant", [PICTURE_PART]))),
    (Why.PLACEHOLDERS, chat(("user", [{"type": "image"}, text("a")]), SAY)),
    (Why.PLACEHOLDERS, chat(("user", [PICTURE_PART, text("a")]), SAY, images=["2.jpg"])),
    (Why.TURN_WEIGHT, with_flags(weight=0.5)),
    (Why.TURN_WEIGHT, with_flags(loss="some")),
    (Why.NOTHING_SUPERVISED, with_flags(is_input=True)),
    (Why.BOXES, chat(("user", "a"), ("assistant", "at <bbox>"), bboxes=[[1, 2, 3, 4]])),
    (Why.IMAGE_MISSING, chat(ASK, SAY, images=["3.jpg"])),
    (Why.IMAGE_REFERENCE, chat(ASK, SAY, images=[{"width": 3}])),
    (Why.IMAGE_REFERENCE, chat(("user", [{"type": "image_url", "image_url": "data:image/png;base64,*"}]), SAY)),
    (Why.SCHEMA, chat(("user", "a"), ("assistant", None))),
    (Why.SCHEMA, chat(("user", [text("a") | {"text": None}]), SAY)),
    (Why.SCHEMA, chat(("user", [7]), SAY)),
]


@pytest.mark.parametrize(("reason", "record"), NOT_KEPT)
def test_a_record_that_cannot_be_used_ends_with_its_reason(reason: Why, record: Any) -> None:
    got = read(record)
    assert got.reason is reason
    assert got.image_ids == ()


def test_a_held_out_question_needs_nothing_to_learn_from() -> None:
    assert read(with_flags(is_input=True), is_trained_on=False).reason is None


def test_kind_and_answer_are_carried() -> None:
    got = read(chat(("user", "a"), SAY, kind="colour", answer=" red\u200e "))
    assert (got.kind, got.answer) == ("colour", "red")


TEXTS = ["<video>", "<image>", "<image 1>", "<video>\n<image>", "red point <pose>", "a", "<depth></video>", "<bbox>"]
VALUES: list[Any] = [
    *TEXTS, None, "", "walk.mp4", "1.jpg", 3, -1.5, True, float("nan"), 10**400, [], {}, [["1.jpg"]], {"path": 3},
    "[1", "00:01", [[1, 2]], ["walk.mp4", None], {"frames": ["1.jpg", "2.jpg"]}, [0, 1], {"bytes": "x"}, "\ud800",
    [[[1, "a"]]], ["1.jpg"] * 3, b"x", "[[1, 2], [3, 4]]", {"path": "a.mp4", "start": "x"}, "data:,x",
]  # fmt: skip
FIELDS = [
    "video", "videos", "image", "images", "start", "end", "timestamps", "duration", "fps", "red_point", "blue_bbox",
    "bbox_list", "point_img_idx", "pose", "depth", "intrinsics", "spar_info", "type", "bboxes", "video_url", "question",
    "answer", "options", "choices", "id", "width", "image_1",
]  # fmt: skip
PARTS = ["video", "video_url", "image", "text", "url", "start", "frames"]


def test_any_record_is_read_or_ends_with_a_reason() -> None:
    """Records of all fields with values of any kind: never another error, and as many places as pictures and clips."""
    chance = random.Random(11)
    reasons: Counter[Why | None] = Counter()
    for number in range(2500):
        part = {"type": chance.choice([*PARTS, 3]), chance.choice(PARTS): chance.choice(VALUES)}
        said = chance.choice([chance.choice(TEXTS), [part, chance.choice(TEXTS)], chance.choice(VALUES)])
        answer = chance.choice(["Yes.", "<video>", chance.choice(VALUES)])
        turns = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        pairs = [{name: chance.choice(VALUES) for name in ("q", "a", "i")} for _ in range(2)]
        fields = {name: chance.choice(VALUES) for name in chance.sample(FIELDS, chance.randint(0, 6))}
        record = {"messages": pairs if number % 5 == 0 else turns, **fields}
        rule = PlacingRule(
            video_style=chance.choice(["timestamps", "spatial"]),
            untagged_first=number % 2 == 0,
            cameras=chance.choice([(), ("poses",)]),
        )
        with suppress(ImageReferenceError):
            pictures_of(record)
        spelled = read_record(spell_record(record))
        dialect = Dialect(pair=("q", "a", "i")) if number % 5 == 0 else Dialect()
        of_turns = partial(parse_record, dialect=dialect, limits=LIMITS, rule=rule)
        for parse in (of_turns, partial(parse_pair, limits=LIMITS, rule=rule)):
            reasons += Counter(one_end(parse, one) for one in (record, spelled) if one is not None)
    assert {None, Why.PLACEHOLDERS, Why.VIDEO_REFERENCE, Why.IMAGE_REFERENCE, Why.SCHEMA} <= reasons.keys()


def one_end(parse: Any, record: Any) -> Why | None:
    try:
        read = parse(record)
    except UnreadableRecordError as error:
        return error.reason
    got = finish(read, [FoundImage(b"i" * 16, 10, 10)] * len(read.image_names), [b"c" * 16] * len(read.videos))
    if got.reason is None:
        spelled = [(one.content.count("<video>"), one.video_tags) for one in got.messages]
        assert sum(number if tags is None else len(tags) for number, tags in spelled) == len(got.clip_ids)
        assert sum(message.num_images for message in got.messages) == len(got.image_ids)
    return got.reason


@pytest.mark.parametrize(
    ("text", "images", "content", "shown"),
    [
        ("Is <image 2> like <image 1>? <image 2>?", ["1.jpg", "2.jpg"], "Is <image> like <image>? <image>?",
         ["2.jpg", "1.jpg", "2.jpg"]),
        ("What of <image 2>?", ["1.jpg", "2.jpg"], "<image>\nWhat of <image>?", ["1.jpg", "2.jpg"]),
        ("<image_1> what?", ["1.jpg"], "<image> what?", ["1.jpg"]),
        ("Which is red?\nA. <image>\nB. <image>", ["1.jpg", "2.jpg"], "Which is red?\nA. <image>\nB. <image>",
         ["1.jpg", "2.jpg"]),
        ("What does <image 1> mean?", [], "What does <image 1> mean?", []),
        ("<image> or <image 1>?", ["1.jpg"], "<image> or <image 1>?", ["1.jpg"]),
    ],
)  # fmt: skip
def test_several_pictures_stand_where_they_are_named(
    text: str, images: list[str], content: str, shown: list[str]
) -> None:
    """MMMU numbers its places, and MUIRBench has one `<image>` for each picture, in options too."""
    got = read(chat(("user", text), SAY, images=images))
    assert (got.reason, got.messages[0].content, names(got)) == (None, content, shown)


@pytest.mark.parametrize("text", ["<video>\n<source src='a.mp4'>\n</video>\nWhy?", "What is <video> in HTML?"])
def test_talk_about_html_keeps_its_elements(text: str) -> None:
    got = read(chat(("user", text), SAY))
    assert (got.reason, got.messages[0].content, got.messages[0].video_tags) == (None, text, ())
