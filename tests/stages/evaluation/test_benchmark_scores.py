"""Overall scores of benchmarks, as their authors bring them together."""

import pytest

from stages.benchmarks.catalog import BENCHMARKS
from stages.evaluation.benchmark_scores import benchmark_scores, chance_adjusted
from stages.evaluation.scoring import ScoredAnswer


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
    assert numbers == {"score": pytest.approx(2 / 3)}
    assert benchmark_scores([], BENCHMARKS["vsi_bench"]) == {}
