"""The scores of an evaluation: all questions first, then each kind, with what is known beside them."""

from stages.evaluation.metrics import ScoredAnswer, metrics
from stages.exporting.scores import Measured, Score, scores_of


def measured(numbers: dict[str, float]) -> Measured:
    return Measured(name="own", benchmark=None, evaluation="e", questions="q", numbers=numbers)


def answer(kind: str, correct: bool, **further: object) -> ScoredAnswer:
    return ScoredAnswer(kind=kind, truth="yes", correct=correct, blind_correct=False, **further)


def test_every_score_that_evaluate_computes_is_listed() -> None:
    answers = [answer("colour", True), answer("colour", False), answer("count_of", True)]
    answers += [answer("length", False, scoring="numeric", score=0.4, blind_score=0.1)]
    scores = scores_of(measured(metrics(answers, num_failed=2)))
    assert [(one.metric, one.of, round(one.value, 3), one.num_questions) for one in scores] == [
        ("accuracy", "", 0.667, 4), ("mra", "", 0.4, 4), ("accuracy", "colour", 0.5, 2),
        ("accuracy", "count_of", 1.0, 1), ("mra", "length", 0.4, 1),
    ]  # fmt: skip
    assert scores[0].interval is not None and scores[0].interval[0] < 0.667 < scores[0].interval[1]
    assert (scores[0].blind, scores[0].chance, scores[1].blind) == (0.0, 1.0, 0.1)
    assert scores[1].interval is not None and scores[1].interval[0] < 0.4 < scores[1].interval[1]


def test_a_benchmark_has_its_own_scores_first() -> None:
    numbers = {"num_questions": 8, "num_failed": 0, "score": 0.7, "score_far": 0.5, "chance_adjusted": 0.6}
    numbers |= {"score_low": 0.1, "score_95_low": 0.6, "score_95_high": 0.8}
    score, adjusted = scores_of(measured(numbers))
    assert (score.metric, score.interval, adjusted.metric) == ("score", (0.6, 0.8), "chance_adjusted")


def test_nothing_is_made_up() -> None:
    assert scores_of(measured({})) == []
    (score,) = scores_of(measured({"accuracy": 0.5}))
    assert score == Score(
        metric="accuracy", of="", value=0.5, interval=None, blind=None, chance=None, num_questions=None
    )
