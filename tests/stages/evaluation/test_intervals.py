"""95% intervals: published values, and what questions that share pictures tell."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.intervals import (
    Z_95,
    clusters_of,
    independent_questions,
    mean_interval,
    wilson_interval,
)


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


def test_questions_that_share_no_picture_have_the_interval_of_a_proportion() -> None:
    assert mean_interval([True, False, True], [3, 1, 2]) == wilson_interval(2, 3)
    assert mean_interval([], []) == (0.0, 1.0)


def test_questions_that_are_right_or_wrong_with_their_picture_tell_as_much_as_the_pictures() -> None:
    scores = [float(picture < 6) for picture in range(10) for _ in range(4)]
    pictures = [picture for picture in range(10) for _ in range(4)]
    assert independent_questions(scores, pictures) == pytest.approx(10 * 9 / 10 * 40 / 39, rel=1e-9)
    low, high = mean_interval(scores, pictures)
    assert (low, high) == pytest.approx(wilson_interval(6, 10), abs=0.02)
    assert low < wilson_interval(24, 40)[0], "wider than if all were independent"


def test_pictures_of_which_one_question_is_right_make_no_interval_narrower() -> None:
    assert independent_questions([1, 0] * 20, [number // 2 for number in range(40)]) == 40
    assert independent_questions([1, 1, 1, 1], [0, 0, 1, 1]) == 2, "all right: nothing is known of the spread"
    assert independent_questions([1, 0, 1], [5, 5, 5]) == 1, "one picture"


def test_graded_scores_tell_more_than_right_and_wrong() -> None:
    assert independent_questions([0.4, 0.6] * 10, list(range(20))) == pytest.approx(20 * 0.25 / 0.01)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    chance, held = random.Random(3), 0
    for _ in range(400):
        scores: list[float] = []
        for _ in range(60):
            hard = chance.random() < 0.4
            scores += [float(chance.random() < (0.1 if hard else 0.9)) for _ in range(5)]
        low, high = mean_interval(scores, [number // 5 for number in range(300)])
        held += low <= 0.4 * 0.1 + 0.6 * 0.9 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_questions_are_clustered_through_all_pictures_that_they_share() -> None:
    assert clusters_of([[b"a"], [b"c"], [b"b", b"a"], [], [b"c", b"b"], []]) == [0, 0, 0, 3, 0, 5]
    assert clusters_of([]) == []
