"""Overall scores of benchmarks, as their authors bring them together."""

from random import Random

import pytest

from stages.benchmarks.catalog import BENCHMARKS
from stages.evaluation.benchmark_scores import benchmark_scores, chance_adjusted, counted_answers
from stages.evaluation.intervals import wilson_interval
from stages.evaluation.metrics import ScoredAnswer


def right(kind: str, *outcomes: bool, num_options: int | None = 4) -> list[ScoredAnswer]:
    return [
        ScoredAnswer(
            kind=kind,
            truth="A",
            correct=one,
            blind_correct=None,
            scoring="choice",
            score=float(one),
            num_options=num_options,
        )
        for one in outcomes
    ]


def measured(kind: str, *scores: float) -> list[ScoredAnswer]:
    return [
        ScoredAnswer(kind=kind, truth="2", correct=one == 1.0, blind_correct=None, scoring="numeric", score=one)
        for one in scores
    ]


def test_vsi_bench_is_the_mean_over_types_and_its_levels_of_direction_are_one() -> None:
    answers = [
        *measured("object_counting", 0.8, 0.4),
        *right("object_rel_direction_easy", True, True),
        *right("object_rel_direction_medium", True, False),
        *right("object_rel_direction_hard", False, False, False, False),
        *right("route_planning", True),
    ]
    numbers = benchmark_scores(answers, BENCHMARKS["vsi_bench"])
    assert numbers["score_object_rel_direction"] == pytest.approx(0.5)
    assert numbers["score"] == pytest.approx((0.6 + 0.5 + 1.0) / 3)


def test_spar_bench_is_the_mean_over_tasks_and_has_three_levels() -> None:
    answers = [
        *measured("depth_prediction_oc", 1.0, 0.0),
        *measured("distance_prediction_oo", 0.9),
        *right("position_matching", True, False, False, False),
        *right("spatial_imagination_oo", True),
    ]
    numbers = benchmark_scores(answers, BENCHMARKS["spar"])
    assert numbers == pytest.approx({"score": 0.6625, "score_low": 0.7, "score_middle": 0.25, "score_high": 1.0})


def test_site_is_adjusted_for_guessing() -> None:
    answers = [*right("counting", True, True, True, False), *right("moving", True, False, num_options=2)]
    numbers = benchmark_scores(answers, BENCHMARKS["site_image"])
    assert numbers["chance_adjusted_counting"] == pytest.approx((3 - 1) / (4 - 1))
    assert numbers["chance_adjusted_moving"] == 0.0
    assert numbers["chance_adjusted"] == pytest.approx((4 - 2) / (6 - 2))
    assert numbers["score"] == pytest.approx(4 / 6)
    assert chance_adjusted(right("counting", False, False, num_options=None)) == pytest.approx(-0.5 / 1.5)


def test_others_are_the_share_of_right_answers_and_no_answers_have_no_score() -> None:
    numbers = benchmark_scores([*right("a", True, True), *right("b", False)], BENCHMARKS["video_mme"])
    low, high = wilson_interval(2, 3)
    assert numbers == pytest.approx({"score": 2 / 3, "score_95_low": low, "score_95_high": high})
    assert benchmark_scores([], BENCHMARKS["vsi_bench"]) == {}


def said(kind: str, truth: str, says_yes: bool | None, *sets: str, cluster: int | None = None) -> ScoredAnswer:
    correct = says_yes is (truth == "Yes")
    return ScoredAnswer(
        kind=kind, truth=truth, correct=correct, blind_correct=None, scoring="yes_no", says_yes=says_yes, sets=sets,
        cluster=cluster,
    )  # fmt: skip


def test_mme_is_points_for_questions_and_for_pictures() -> None:
    answers = [
        said("ocr", "Yes", True, "picture:1"), said("ocr", "No", False, "picture:1"),
        said("ocr", "Yes", True, "picture:2"), said("ocr", "No", True, "picture:2"),
        said("code_reasoning", "Yes", True, "picture:3"), said("code_reasoning", "No", False, "picture:3"),
    ]  # fmt: skip
    numbers = benchmark_scores(answers, BENCHMARKS["mme"])
    assert numbers["score_perception"] == 75 + 50 and numbers["score_cognition"] == 200
    assert numbers["score"] == 325 and "score_95_low" not in numbers, "three pictures tell no interval"


def test_mmbench_counts_a_question_that_is_right_in_all_orders_of_its_options() -> None:
    answers = [
        ScoredAnswer(kind="a", truth="A", correct=right_one, blind_correct=None, sets=(f"circle:{name}",))
        for name, rights in (("1", (True, True)), ("2", (True, False)), ("3", (True, True)))
        for right_one in rights
    ]
    assert benchmark_scores(answers, BENCHMARKS["mmbench"])["score"] == pytest.approx(2 / 3)


def test_hallusion_bench_is_the_mean_of_three_accuracies() -> None:
    answers = [
        said("map", "Yes", True, "figure:0_0", "question:0_0"), said("map", "No", True, "figure:0_0", "question:0_1"),
        said("map", "Yes", True, "figure:0_1", "question:0_0"), said("map", "No", False, "figure:0_1", "question:0_1"),
    ]  # fmt: skip
    score = benchmark_scores(answers, BENCHMARKS["hallusion_bench"])["score"]
    assert score == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)


def test_pope_is_f1_and_counts_a_question_once_in_each_of_its_kinds() -> None:
    pope = BENCHMARKS["pope"]
    answers = [
        said("adversarial_popular_random", "Yes", True), said("popular", "No", True), said("random", "Yes", False),
    ]  # fmt: skip
    counted = counted_answers(answers, pope)
    assert sorted(one.kind for one in counted) == ["adversarial", "popular", "popular", "random", "random"]
    assert benchmark_scores(counted, pope)["score"] == pytest.approx(2 * 0.75 * 0.75 / 1.5)
    assert [one.kind for one in counted_answers(answers, BENCHMARKS["mme"])] == [one.kind for one in answers]


def test_the_interval_of_a_score_that_is_no_mean_is_that_of_the_mean_where_both_are_known() -> None:
    """A score of sets of one question is an accuracy: leaving out groups must give its interval, but for the method."""
    for num_pictures in (200, 2000):
        rights = [number < num_pictures * 3 // 5 for number in range(num_pictures)]
        Random(5).shuffle(rights)
        answers = [
            ScoredAnswer(
                kind="a", truth="A", correct=rights[number], blind_correct=None, sets=(f"circle:{number}",),
                cluster=number,
            )
            for number in range(num_pictures)
        ]  # fmt: skip
        numbers = benchmark_scores(answers, BENCHMARKS["mmbench"])
        width = numbers["score_95_high"] - numbers["score_95_low"]
        low, high = wilson_interval(num_pictures * 3 // 5, num_pictures)
        assert 0.5 < width / (high - low) < 1.6


@pytest.mark.parametrize("num_wrong", [0, 1, 3, 48])
@pytest.mark.parametrize(("name", "most"), [("pope", 1.0), ("mme", 200.0), ("hallusion_bench", 1.0)])
def test_an_interval_holds_its_score_and_stays_within_what_can_be_reached(
    name: str, most: float, num_wrong: int
) -> None:
    answers = [
        said("random", truth, (truth == "Yes") == (number >= num_wrong), f"picture:{number}", cluster=number)
        for number in range(48)
        for truth in ("Yes", "No")
    ]
    numbers = benchmark_scores(answers, BENCHMARKS[name])
    low, high = numbers["score_95_low"], numbers["score_95_high"]
    assert 0 <= low <= numbers["score"] <= high <= most
    assert high - low > 0.05 * most, "all right of 48 pictures does not tell that all are"


def test_copies_of_an_answer_tell_nothing_more() -> None:
    pope, draw = BENCHMARKS["pope"], Random(3)
    answers = [said("popular_random", draw.choice(("Yes", "No")), draw.random() < 0.6) for _ in range(400)]
    copied = benchmark_scores(counted_answers(answers, pope), pope)
    alone = benchmark_scores(answers, pope)
    assert copied == pytest.approx(alone)
