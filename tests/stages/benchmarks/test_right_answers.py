"""Right answers out of rows, in the form in which the benchmark's rule compares them."""

from typing import Any

import pytest

from stages.benchmarks.benchmark import RULES
from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.right_answers import SEVERAL, right_answers
from stages.benchmarks.rows import plain_records
from stages.conversations.reasons import ConversationReason, UnreadableRecordError


def answers(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    benchmark = BENCHMARKS[name]  # type: ignore[index]
    (record,) = plain_records({"question": "?"} | row, benchmark)
    options = tuple(record["options"] or ())
    return right_answers(record, benchmark, options, benchmark.scoring(None, has_options=bool(options)))


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("docvqa", {"answers": ["12 May", "12th May"]}, ("12 May", "12th May")),
        ("docvqa", {"answer": "['12 May', '12th May']"}, ("12 May", "12th May")),
        ("textvqa", {"answers": ["a", "b", "b"]}, ("b", "b", "a")),
        ("textvqa", {"answers": [{"answer": "x", "answer_id": 1}, {"answer": "y", "answer_id": 2}]}, ("x", "y")),
        ("chartqa", {"answer": "14"}, ("14",)),
        ("chartqa", {"answer": 14}, ("14",)),
        ("ocrbench", {"answer": ["[12", "x"]}, ("[12", "x")),
        ("ocrbench", {"answer": "[12 is no list"}, ("[12 is no list",)),
        ("mme", {"answer": "yes."}, ("Yes",)),
        ("hallusion_bench", {"gt_answer": "0"}, ("No",)),
        ("ai2d", {"options": ["stem", "leaf"], "answer": "1"}, ("B",)),
        ("ai2d", {"A": "stem", "B": "leaf", "answer": "B"}, ("B",)),
        ("mmmu_direct", {"options": "[]", "answer": "['8', 'eight']"}, ("8", "eight")),
    ],
)
def test_right_answers(name: str, row: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert answers(name, row) == expected


@pytest.mark.parametrize(
    ("name", "row"), [("mme", {"answer": "maybe"}), ("docvqa", {"answers": []}), ("textvqa", {"answers": ["", None]})]
)
def test_a_row_without_one_ends_with_a_reason(name: str, row: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecordError) as raised:
        answers(name, row)
    assert raised.value.reason == ConversationReason.NO_ANSWER


def test_the_rules_that_take_several_answers_are_rules() -> None:
    assert SEVERAL < RULES
