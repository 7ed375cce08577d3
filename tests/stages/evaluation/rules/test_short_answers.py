"""ANLS, relaxed accuracy, equality and containment on worked examples."""

import pytest

from stages.evaluation.rules.short_answers import anls, containment, edit_distance, equality, relaxed_accuracy


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("flaw", "lawn", 2), ("saturday", "sunday", 3), ("ab", "ba", 2)],
)
def test_edit_distances_and_both_ways_are_one(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


@pytest.mark.parametrize(
    ("answer", "truths", "score"),
    [
        ("12 May 1998", ["12 may 1998"], 1.0),
        ("12  May\n1998", ["12 May 1998"], 1.0 - 0 / 12),
        ("12 May 1999", ["12 May 1998"], 1 - 1 / 11),
        ("abcd", ["abxy"], 0.5),
        ("abcde", ["abxyz"], 0.0),
        ("$5", ["5 dollars", "$5"], 1.0),
        ("a much longer answer that says it was 5", ["5"], 0.0),
        ("", ["5"], 0.0),
    ],
)
def test_anls(answer: str, truths: list[str], score: float) -> None:
    assert anls(answer, truths) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("105", "100", 1.0), ("105.1", "100", 0.0), ("-100", "-96", 1.0), ("12%", "0.12", 1.0), ("12", "12%", 0.0),
        ("0.0", "0", 0.0), ("0", "0", 1.0), ("Yes", "yes", 1.0), ("yes.", "yes", 0.0), ("1,000", "1000", 0.0),
        (" 14 ", "14", 1.0), ("", "14", 0.0), ("2019", "2010", 1.0),
    ],
)  # fmt: skip
def test_relaxed_accuracy(answer: str, truth: str, score: float) -> None:
    assert relaxed_accuracy(answer, [truth]) == score
    assert relaxed_accuracy(answer, ["of another kind", truth]) == score


def test_equality_and_containment() -> None:
    assert equality("RED", ["blue", "red "]) == 1.0
    assert equality("reddish", ["red"]) == 0.0
    assert containment("the sign\nreads Stop", ["READS STOP"]) == 1.0
    assert containment("the sign reads\nStop", ["READS STOP"]) == 1.0
    assert containment("stop", ["nonstop", "go"]) == 0.0
    assert containment("\\frac {a} {b}", ["\\frac{a}{b}"], is_formula=True) == 1.0
    assert containment("X^2", ["x^2"], is_formula=True) == 0.0, "the case of a formula counts"
