"""The answer table: a row for each question, whole again when read, and a fair choice of what is shown."""

from collections import Counter

from stages.evaluation.answers import (
    Answer,
    Replies,
    answer_row,
    answer_table,
    answers_to_show,
    read_answers,
    scored_answers,
)
from stages.evaluation.blind_control import Media
from stages.evaluation.questions import Question, QuestionTrouble
from stages.formats.sample_table import balance_of


def question(number: int, kind: str = "colour") -> Question:
    return Question(
        sample_id=number.to_bytes(16, "big"),
        image_ids=(bytes([number]) * 16,),
        kind=kind,
        messages=({"role": "user", "content": "<image> Which?"},),
        truth="red",
    )


def row(
    number: int, said: str | QuestionTrouble, blind: str | QuestionTrouble | None = None, kind: str = "colour"
) -> Answer:
    replies = Replies(own=said, blind=blind, blind_media=Media((b"o" * 16,)))
    return answer_row(question(number, kind), ["http://a/b"], replies)


ROWS = [
    row(1, "Red.", "blue"),
    row(2, "blue", "red"),
    row(3, QuestionTrouble.TOO_LONG, "red"),
    row(4, "red", QuestionTrouble.IMAGE_UNUSABLE),
    row(5, "", None),
]


def test_an_answer_is_scored_and_a_question_that_was_not_asked_is_not() -> None:
    assert [(each.correct, each.blind_correct) for each in ROWS] == [
        (True, False),
        (False, True),
        (None, None),
        (True, None),
        (False, None),
    ]
    assert [each.reason for each in ROWS] == [None, None, "too_long", None, None]
    assert [each.blind_image_ids for each in ROWS] == [[b"o" * 16], [b"o" * 16], [], [], []]
    assert len(scored_answers(ROWS)) == 4


def test_the_table_holds_every_row_and_gives_it_back() -> None:
    table = answer_table(ROWS)
    assert read_answers(table) == ROWS
    balance = balance_of(table)
    assert (balance.kept, balance.failed) == (4, {"too_long": 1})
    assert read_answers(answer_table([])) == []


def test_each_kind_is_shown_in_turn_whatever_its_answers() -> None:
    rows = [row(number, "red", kind=("colour", "count", "word")[number % 3]) for number in range(2, 30)]
    rows += [row(40 + number, QuestionTrouble.TOO_LONG) for number in range(5)]
    chosen = answers_to_show(rows, 9)
    assert Counter(each.kind for each in chosen) == {"colour": 3, "count": 3, "word": 3}
    assert chosen == answers_to_show(rows[::-1], 9)
    assert len(answers_to_show(rows, 100)) == 28
    assert answers_to_show(rows, 0) == []
