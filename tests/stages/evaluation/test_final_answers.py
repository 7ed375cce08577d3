"""Final answers of models that reason first, and answers that say the same as the truth."""

import pytest

from stages.evaluation.final_answers import final_answer, is_same, last_line


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("It is 4.", None),
        ("ANSWER: 4", "4"),
        ("Answer: 3\nNo. Answer: 4", "4"),
        ("**Answer:** B", "B"),
        ("Thus \\boxed{\\frac{1}{2}} m", "\\frac{1}{2}"),
        ("answer: 1, so \\boxed{2}", "2"),
        ("<think>Answer: A</think>I say <answer> B </answer>", "B"),
        ("<think>Answer: A</think>B", None),
        ("The answer: ", None),
    ],
)
def test_the_final_answer_is_what_is_marked_last(answer: str, expected: str | None) -> None:
    assert final_answer(answer) == expected


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("Red.", "red", True),
        ("reddish", "red", False),
        ("$1,200.00", "1200", True),
        ("3.14159", "3.14", True),
        ("3.2", "3.14", False),
        ("24/7", "['24/7', '3.429']", True),
        ("3.43", "['24/7', '3.429']", True),
        ("x", "[not a list", False),
        ("", "", False),
        ("nan", "nan", False),
    ],
)
def test_an_answer_says_the_same_or_not(answer: str, truth: str, expected: bool) -> None:
    assert is_same(answer, truth) is expected


def test_the_last_line_says_something() -> None:
    assert [last_line(text) for text in ("a\n b \n\n", "<think>x\ny</think>", "")] == ["b", "", ""]
