"""Messages of a request become the text that training has, with pictures where the client put them."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.serving.errors import ProtocolError
from pipelines.serving.messages import read_messages
from tests.pipelines.serving.served_models import picture_part, user

SHOWN = picture_part("data:image/png;base64,AAAA")


def test_pictures_stand_on_lines_of_their_own() -> None:
    (message,) = read_messages([user(SHOWN, picture_part("data:,", detail="low"), "What are these?")])
    assert message.rendered() == {
        "role": "user",
        "content": "<image>\n<image>\nWhat are these?",
        "image_tags": [0, 1],
    }
    assert [picture.is_low for picture in message.pictures] == [False, True]
    assert message.pictures[1].param == "messages[0].content[1].image_url.url"


def test_a_placeholder_in_a_text_stays_text() -> None:
    (message,) = read_messages([user("an <image> and <image>", SHOWN, "<image>?")])
    assert message.content.count("<image>") == 4 and message.image_tags == (2,)
    (plain,) = read_messages([{"role": "user", "content": "<image>"}])
    assert plain.rendered() == {"role": "user", "content": "<image>", "image_tags": []}


def test_an_answer_may_be_sent_back_as_it_came() -> None:
    answer = {"role": "assistant", "content": "Red.", "refusal": None, "annotations": [], "tool_calls": None}
    messages = read_messages([{"role": "developer", "content": "Hm."}, user("A"), answer, user("B")])
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]


WRONG: dict[str, tuple[Any, str, str]] = {
    "no list": ("hello", "messages", "must be a list"),
    "no object": (["hello"], "messages[0]", "no object with role and content"),
    "role": ([{"role": "tool", "content": "x"}], "messages[0].role", "has role 'tool': one of system, developer"),
    "content": ([{"role": "user", "content": 3}], "messages[0].content", "must be text, or a list of parts"),
    "no parts": ([user()], "messages[0].content", "must be text, or a list of parts"),
    "part": ([user({"type": "input_audio"})], "messages[0].content[0]", "has type 'input_audio'"),
    "no text": ([user({"type": "text", "text": 1})], "messages[0].content[0]", "has type 'text'"),
    "no url": ([user({"type": "image_url"})], "messages[0].content[0].image_url", "must be"),
    "detail": (
        [user(picture_part("data:,", detail="x"))],
        "messages[0].content[0].image_url.detail",
        "auto, high, low",
    ),
    "tool call": ([{"role": "user", "content": "a", "tool_calls": [1]}], "messages[0].tool_calls", "not supported"),
    "unknown": ([{"role": "user", "content": "a", "colour": "red"}], "messages[0].colour", "not supported"),
    "last": ([{"role": "assistant", "content": "a"}], "messages", "an answer follows a message of the user"),
    "whose": ([{"role": "system", "content": [SHOWN]}, user("a")], "messages[0].content", "only the user's have some"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_the_message(name: str) -> None:
    messages, param, words = WRONG[name]
    with pytest.raises(ProtocolError) as caught:
        read_messages(messages)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert words in str(caught.value) and len(str(caught.value)) < 200
