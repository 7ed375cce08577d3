"""What of a conversation is asked, what would be right, and which conversations are no question."""

from typing import Any

import pytest

from stages.evaluation.questions import PLAIN_KIND, QuestionTrouble, as_question
from stages.formats.sample_table import Verdict


def row(*turns: tuple[str, str | None], **changes: Any) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in turns]
    plain = {"sample_id": bytes(16), "image_ids": [b"i" * 16], "messages": messages, "kind": "colour", "answer": None}
    return plain | changes


def test_what_comes_before_the_last_answer_is_asked_and_the_answer_is_the_truth() -> None:
    question = as_question(
        row(
            ("system", "Be brief."),
            ("user", "<image>\nWhat shape is it?"),
            ("assistant", "circle"),
            ("user", "And which\ncolour?"),
            ("assistant", "red"),
        )
    )
    assert [message["content"] for message in question.messages][-1] == "And which\ncolour?"
    assert len(question.messages) == 4
    assert (question.wording, question.truth, question.trouble) == ("And which colour?", "red", None)


def test_an_answer_column_goes_before_the_last_turn_and_may_stand_without_one() -> None:
    assert as_question(row(("user", "Which?"), ("assistant", "It is red."), answer="red")).truth == "red"
    unanswered = as_question(row(("user", "<image> Which?"), answer="red"))
    assert (unanswered.wording, unanswered.truth, len(unanswered.messages)) == ("Which?", "red", 1)


def test_a_picture_alone_may_be_asked_about_and_options_come_along() -> None:
    captioned = as_question(row(("user", "<image>"), ("assistant", "A red circle.")))
    assert (captioned.wording, captioned.truth, captioned.trouble, captioned.options) == (
        "",
        "A red circle.",
        None,
        None,
    )
    chosen = as_question(row(("user", "<image>\nWhich?"), ("assistant", "B"), answer="B", options=["red", "blue"]))
    assert (chosen.truth, chosen.options) == ("B", ("red", "blue"))


def test_a_question_without_a_kind_is_plain() -> None:
    assert as_question(row(("user", "Which?"), ("assistant", "red"), kind=None)).kind == PLAIN_KIND


@pytest.mark.parametrize(
    ("odd", "trouble"),
    [
        (row(("user", "Which?")), QuestionTrouble.NO_TRUTH),
        (row(("user", "Which?"), ("assistant", "...")), QuestionTrouble.NO_TRUTH),
        (row(("user", "Which?"), ("assistant", None)), QuestionTrouble.NO_TRUTH),
        (row(("assistant", "red")), QuestionTrouble.NO_QUESTION),
        (row(("user", "<image>\n"), ("assistant", "red"), image_ids=[]), QuestionTrouble.NO_QUESTION),
        (row(("user", None), ("assistant", "red")), QuestionTrouble.NO_QUESTION),
        (row(("user", "Which?"), ("assistant", "red"), kind="colour_low"), QuestionTrouble.KIND_IS_NO_NAME),
        (row(messages=None, answer="red"), QuestionTrouble.NO_QUESTION),
    ],
)
def test_an_odd_record_says_why_it_cannot_be_asked(odd: dict[str, Any], trouble: QuestionTrouble) -> None:
    assert as_question(odd).trouble is trouble
    assert trouble.verdict is Verdict.FAILED
