"""When an answer is right, how sure an accuracy is, and which numbers an evaluation has."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.scoring import (
    Z_95,
    ScoredAnswer,
    chance,
    chosen_letter,
    is_correct,
    is_metric_name,
    kinds_of,
    metrics,
    normalised,
    score,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("red", "red"),
        (" Red.\n", "red"),
        ('"RED"', "red"),
        ("dark\t red", "Dark Red"),
        ("\uff32\uff25\uff24", "red"),
        ("Straße", "STRASSE"),
        ("红色。", "红色"),
        ("it's", "it's"),
    ],
)
def test_right_means_equal_but_for_case_space_width_and_punctuation_around(answer: str, truth: str) -> None:
    assert is_correct(answer, truth)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("the red one", "red"),
        ("red or blue", "red"),
        ("", ""),
        ("...", "?"),
        ("1", "one"),
        ("3.5", "35"),
        ("re d", "red"),
    ],
)
def test_nothing_is_parsed_out_of_a_longer_answer_and_nothing_is_no_answer(answer: str, truth: str) -> None:
    assert not is_correct(answer, truth)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("num_correct", "num_asked", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (0, 0, 0.0, 1.0)],
)
def test_the_interval_agrees_with_published_values(num_correct: int, num_asked: int, low: float, high: float) -> None:
    assert wilson_interval(num_correct, num_asked) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda asked: st.tuples(st.integers(0, asked), st.just(asked))))
def test_the_bounds_are_the_shares_from_which_the_observed_one_is_just_plausible(counts: tuple[int, int]) -> None:
    num_correct, num_asked = counts
    share = num_correct / num_asked
    low, high = wilson_interval(num_correct, num_asked)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for bound in (low, high):
        if 1e-9 < bound < 1 - 1e-9:
            deviation = abs(share - bound) / math.sqrt(bound * (1 - bound) / num_asked)
            assert deviation == pytest.approx(Z_95, rel=1e-6)


def scored(kind: str, truth: str, correct: bool, blind_correct: bool | None = False) -> ScoredAnswer:
    return ScoredAnswer(kind=kind, truth=truth, correct=correct, blind_correct=blind_correct)


def test_every_number_is_over_the_questions_it_names() -> None:
    answers = [
        scored("colour", "red", True, True),
        scored("colour", "Red.", True),
        scored("colour", "blue", False),
        scored("colour", "red", True, None),
        scored("count", "one", False, None),
    ]
    numbers = metrics(answers, num_failed=2)
    assert numbers["num_questions"] == 7
    assert numbers["num_failed"] == 2
    assert numbers["accuracy"] == 3 / 5
    assert numbers["accuracy_blind"] == 1 / 3
    assert numbers["accuracy_colour"] == 3 / 4
    assert numbers["accuracy_blind_colour"] == 1 / 3
    assert numbers["chance_colour"] == 3 / 4
    assert numbers["chance"] == pytest.approx((3 / 4 * 4 + 1) / 5)
    assert (numbers["accuracy_colour_low"], numbers["accuracy_colour_high"]) == wilson_interval(3, 4)
    assert (numbers["accuracy_low"], numbers["accuracy_high"]) == wilson_interval(3, 5)
    assert "accuracy_blind_count" not in numbers, "where the control was not asked there is no number"
    assert kinds_of(numbers) == ["colour", "count"]


def test_an_evaluation_without_an_answer_claims_no_accuracy() -> None:
    assert metrics([], num_failed=3) == {"num_questions": 3, "num_failed": 3}


def test_chance_is_what_always_saying_the_same_would_reach() -> None:
    assert chance([scored("position", truth, False) for truth in ("left", "right", "top", "left")]) == 0.5


@pytest.mark.parametrize("kind", ["colour", "image_caption", "ocr-2", "3d"])
def test_a_kind_names_a_metric(kind: str) -> None:
    assert is_metric_name(kind)


@pytest.mark.parametrize("kind", ["", "blind", "low", "colour_low", "blind_colour", "a b", "größe", "a/b", "__"])
def test_a_kind_that_could_be_mistaken_for_another_metric_is_none(kind: str) -> None:
    assert not is_metric_name(kind)


LETTERS = ["a dog", "a cat", "a cup"]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), (" (b). ", "B"), ("B.", "B"), ("B. a cat", "B"), ("(B) a cat", "B"), ("B) a cat", "B"),
        ("**B**", "B"), ("a cat", "B"), ("A cat.", "B"), ("The answer is B.", "B"), ("the correct answer is (B)", "B"),
        ("Answer: B", "B"), ("I think the answer is **B**", "B"), ("so \\boxed{B}", "B"), ("\\boxed{\\text{B}}", "B"),
        ("Option C", "C"), ("", None), ("D", None), ("a mouse", None), ("A bird, maybe", None),
        ("a dog and a cat", None),
        ("The answer is A or the answer is B", None), ("Because the answer isn't there", None),
    ],
)  # fmt: skip
def test_the_option_that_an_answer_chooses(answer: str, letter: str | None) -> None:
    assert chosen_letter(answer, LETTERS) == letter
    assert is_correct(answer, "B", LETTERS) == (letter == "B")


def test_numbers_have_metrics_of_their_own_and_enter_no_accuracy() -> None:
    answers = [
        ScoredAnswer(kind="colour", truth="red", correct=True, blind_correct=False, shuffled_correct=True),
        ScoredAnswer(kind="colour", truth="blue", correct=False, blind_correct=None, shuffled_correct=False),
        ScoredAnswer(kind="far", truth="2", correct=False, blind_correct=None, scoring="numeric", score=0.8),
        ScoredAnswer(
            kind="far", truth="3", correct=True, blind_correct=False, scoring="numeric", score=1.0, blind_score=0.2,
            shuffled_score=0.4,
        ),
    ]  # fmt: skip
    numbers = metrics(answers, num_failed=0)
    assert (numbers["accuracy"], numbers["accuracy_shuffled"], numbers["accuracy_shuffled_colour"]) == (0.5, 0.5, 0.5)
    assert (numbers["mra"], numbers["mra_far"], numbers["mra_blind"], numbers["mra_shuffled_far"]) == (
        0.9,
        0.9,
        0.2,
        0.4,
    )
    assert "accuracy_far" not in numbers and "mra_colour" not in numbers and kinds_of(numbers) == ["colour"]
    assert (numbers["num_questions"], numbers["num_questions_far"], numbers["chance"]) == (4, 2, 0.5)
    assert not is_metric_name("shuffled") and is_metric_name("object_shuffle")


@pytest.mark.parametrize(
    ("answer", "truth", "options", "rule", "expected"),
    [
        ("`B`", "B", None, "choice", 1.0),
        ("(D) 1633", "D", None, "choice", 1.0),
        ("the second", "B", None, "choice", 0.0),
        ("B. a cat", "B", ["a dog", "a cat"], "choice", 1.0),
        ("2.3 meters", "2.0", None, "numeric", 0.8),
        ("far", "2.0", None, "numeric", 0.0),
        ("red.", "Red", None, "exact", 1.0),
        ("A. is too far and B. is behind.\nThe answer is C.", "C", ["x", "y", "z"], "choice", 1.0),
        ("A. The first.\nAnswer: \\boxed{B}", "B", ["x", "y"], "choice", 1.0),
        ("It is near the door.\n\nB", "B", None, "choice", 1.0),
        ("It costs 5.\nANSWER: $1,200", "1200", None, "final", 1.0),
        ("ANSWER: red", "['crimson', 'Red']", None, "final", 1.0),
        ("It may be red.", "red", None, "final", 0.0),
        ("move_up:1", "move_up:1", None, "moves", 1.0),
    ],
)
def test_an_answer_is_scored_by_the_rule_of_its_question(
    answer: str, truth: str, options: list[str] | None, rule: ScoringRule, expected: float
) -> None:
    assert score(answer, truth, options, rule) == expected
