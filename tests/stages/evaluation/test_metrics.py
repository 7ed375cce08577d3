"""Which numbers an evaluation has, and over which questions each is."""

import pytest

from stages.benchmarks.catalog import BENCHMARKS
from stages.evaluation.benchmark_scores import counted_answers
from stages.evaluation.intervals import wilson_interval
from stages.evaluation.metrics import ScoredAnswer, chance, kinds_of, metrics, whole_sets


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


def yes_no(truth: str, says_yes: bool | None, *sets: str, kind: str = "ocr") -> ScoredAnswer:
    correct = says_yes is (truth == "Yes")
    return ScoredAnswer(
        kind=kind, truth=truth, correct=correct, blind_correct=None, scoring="yes_no", says_yes=says_yes, sets=sets
    )


def test_answers_yes_or_no_have_f1_and_sets_of_them_are_right_together() -> None:
    answers = [
        yes_no("Yes", True, "picture:1"),
        yes_no("No", False, "picture:1"),
        yes_no("Yes", True, "picture:2"),
        yes_no("No", None, "picture:2"),
        yes_no("Yes", False, "picture:2", kind="scene"),
    ]
    numbers = metrics(answers, num_failed=0)
    assert whole_sets(answers) == {"picture": [True, False, False]}, "a set is of one kind"
    assert numbers["whole_picture"] == 1 / 3 and numbers["whole_picture_ocr"] == 1 / 2
    assert numbers["whole_picture_low"] < 1 / 3 < numbers["whole_picture_high"]
    assert (numbers["precision"], numbers["recall"], numbers["yes_share"]) == (1.0, 2 / 3, 2 / 5)
    assert numbers["f1"] == pytest.approx(0.8) and numbers["f1_scene"] == 0.0
    assert numbers["accuracy"] == 3 / 5


def test_anls_and_vqa_accuracy_are_means_with_intervals() -> None:
    answers = [
        ScoredAnswer(
            kind="doc", truth="x", correct=one == 1, blind_correct=False, scoring="anls", score=one, blind_score=0.0
        )
        for one in (1.0, 0.8, 0.0)
    ]
    numbers = metrics(answers, num_failed=0)
    assert numbers["anls"] == numbers["anls_doc"] == pytest.approx(0.6)
    assert numbers["anls_low"] < 0.6 < numbers["anls_high"] and numbers["anls_blind"] == 0.0
    assert "accuracy" not in numbers and "mra" not in numbers


def test_questions_that_share_a_picture_have_a_wider_interval() -> None:
    def of(clusters: list[int]) -> tuple[float, float]:
        answers = [
            ScoredAnswer(kind="a", truth="x", correct=number < 20, blind_correct=None, cluster=cluster)
            for number, cluster in enumerate(clusters)
        ]
        numbers = metrics(answers, num_failed=0)
        return numbers["accuracy_low"], numbers["accuracy_high"]

    assert of(list(range(40))) == wilson_interval(20, 40)
    low, high = of([number // 4 for number in range(40)])
    assert low < wilson_interval(20, 40)[0] and high > wilson_interval(20, 40)[1]


def test_a_question_of_several_kinds_counts_once_among_all() -> None:
    answers = [yes_no("Yes", True, kind="popular_random"), yes_no("No", True, kind="popular")]
    numbers = metrics(answers, num_failed=1, of_kinds=counted_answers(answers, BENCHMARKS["pope"]))
    assert (numbers["num_questions"], numbers["accuracy"]) == (3, 0.5)
    assert (numbers["num_questions_popular"], numbers["num_questions_random"]) == (2, 1)
    assert (numbers["f1_popular"], numbers["f1_random"], numbers["f1"]) == (
        pytest.approx(2 / 3),
        1.0,
        numbers["f1_popular"],
    )
    assert (numbers["accuracy_low"], numbers["accuracy_high"]) == wilson_interval(1, 2)
