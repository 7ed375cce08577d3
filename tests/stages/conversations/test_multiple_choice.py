"""A row of an evaluation set becomes VLMEvalKit's prompt, and its right answer a letter, however it is given."""

from typing import Any

import pytest

from stages.conversations.multiple_choice import ask, kind_of, options_of, split_at_pictures
from stages.conversations.reasons import ConversationReason as Why
from stages.conversations.reasons import UnreadableRecordError

ROW = {"question": "What is it?", "hint": "Look.", "A": "a dog", "B": "a cat", "C": "nan", "D": "", "answer": "B"}
PROMPT = "Hint: Look.\nQuestion: What is it?\nOptions:\nA. a dog\nB. a cat\nPick one."


def test_the_prompt_is_that_of_the_kit() -> None:
    asked = ask(ROW, "Pick one.", "In a word.")
    assert (asked.prompt, asked.answer, asked.options) == (PROMPT, "B", ("a dog", "a cat"))
    assert ask({**ROW, "hint": "nan"}, "Pick one.", "").prompt == PROMPT.removeprefix("Hint: Look.\n")
    plain = ask({"question": "What is it?", "answer": "a cat"}, "Pick one.", "In a word.")
    assert (plain.prompt, plain.answer, plain.options) == ("What is it?\nIn a word.", "a cat", None)


@pytest.mark.parametrize(
    "options",
    [
        {"A": "a dog", "B": "a cat"},
        {"options": ["a dog", "a cat"]},
        {"choices": ["A. a dog", "B. a cat"]},
        {"options": '["(A) a dog", "(B) a cat"]'},
        {"options": "['a dog', 'a cat']"},
        {"options": [{"text": "a dog"}, {"text": "a cat"}]},
        {"A": "a dog", "B": "a cat", "C": None, "D": float("nan")},
    ],
)
def test_options_in_every_form(options: dict[str, Any]) -> None:
    assert options_of(options) == ("a dog", "a cat")


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({**ROW, "answer": "b"}, "B"),
        ({**ROW, "answer": "(B)."}, "B"),
        ({**ROW, "answer": 1}, "B"),
        ({**ROW, "answer": 1.0}, "B"),
        ({**ROW, "answer": "A cat"}, "B"),
        ({"question": "?", "A": "1", "B": "0", "answer": "0"}, "B"),
        ({"question": "?", "answer": ["yes", "no", "yes"]}, "yes"),
        ({"question": "?", "answers": [{"answer": "no"}, {"answer": "no"}, {"answer": "yes"}]}, "no"),
        ({"question": "?", "answer": "none"}, "none"),
    ],
)
def test_the_right_answer_in_every_form(record: dict[str, Any], answer: str) -> None:
    assert ask(record, "", "").answer == answer


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({**ROW, "question": None}, Why.SCHEMA),
        ({**ROW, "answer": None}, Why.NO_ANSWER),
        ({**ROW, "answer": "nan"}, Why.NO_ANSWER),
        ({**ROW, "answer": "E"}, Why.OPTIONS),
        ({**ROW, "answer": "A,B"}, Why.OPTIONS),
        ({**ROW, "B": None}, Why.OPTIONS),
        ({"question": "?", "options": ["a", None], "answer": "a"}, Why.OPTIONS),
        ({"question": "\ud800", "answer": "a"}, Why.ENCODING),
    ],
)
def test_what_cannot_be_asked_ends_with_a_reason(record: dict[str, Any], reason: Why) -> None:
    with pytest.raises(UnreadableRecordError) as error:
        ask(record, "", "")
    assert error.value.reason is reason


def test_pictures_stand_where_the_prompt_names_them() -> None:
    assert split_at_pictures("Compare <image 2> with <image_1>.", 3) == [2, "Compare ", 1, " with ", 0, "."]
    assert split_at_pictures("What?", 2) == [0, 1, "What?"]
    assert split_at_pictures("What is <image 1>?", 0) == ["What is <image 1>?"]
    with pytest.raises(UnreadableRecordError):
        split_at_pictures("What is <image 3>?", 1)


def test_a_kind_can_be_part_of_a_metric() -> None:
    assert kind_of({"category": "Spatial Relation (2D)"}) == "spatial_relation_2d"
    assert kind_of({"kind": "colour", "category": "x"}) == "colour"
    assert kind_of({"category": "nan"}) is None
