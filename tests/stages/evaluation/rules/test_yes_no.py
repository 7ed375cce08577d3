"""Yes or no out of answers, and precision, recall and F1 of yes on counted examples."""

import pytest

from stages.evaluation.rules.yes_no import says_yes, yes_scores


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes", True), ("yes.", True), ("Yes, there is a dog.", True), ("No", False), ("no, it isn't", False),
        ("It is not", None), ("yes or no", None), ("", None), ("yesterday", None), ("(no)", False), ("NO!", False),
    ],
)  # fmt: skip
def test_what_an_answer_says(answer: str, yes: bool | None) -> None:
    assert says_yes(answer) is yes


def test_scores_of_yes_are_those_that_were_counted_by_hand() -> None:
    truths = [True, True, True, False, False]
    scores = yes_scores(truths, [True, None, False, True, False])
    assert scores == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 0.4, "yes_share": 2 / 5})
    assert yes_scores(truths, [None] * 5) == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_share": 0.0}
    assert yes_scores([], []) == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_share": 0.0}
