"""Numbers in answers, and mean relative accuracy by worked examples."""

import numpy as np
import pytest

from stages.evaluation.numbers import TOLERANCES, mean_relative_accuracy, moves_accuracy, moves_in, number_in


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("4", 4.0),
        ("about 1,200.5 m", 1200.5),
        ("-0.5", -0.5),
        (".5 meters", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("There are two chairs.", 2.0),
        ("two, that is 3", 3.0),
        ("<think>It is 7.</think> 4.2", 4.2),
        ("The answer is <answer>3.5 m</answer>, not 8.", 3.5),
        ("many", None),
        ("", None),
        ("chair2", None),
    ],
)
def test_the_number_of_an_answer_is_found(answer: str, number: float | None) -> None:
    assert number_in(answer) == number


def test_the_tolerances_are_those_of_vsi_bench() -> None:
    assert list(TOLERANCES) == [float(1 - theta) for theta in np.linspace(0.5, 0.95, 10)]


@pytest.mark.parametrize(
    ("answer", "truth", "accuracy"),
    [
        (2.0, 2.0, 1.0),
        (2.05, 2.0, 1.0),  # 2.5%
        (2.3, 2.0, 0.8),  # 15%: within 50, 45, ..., 15
        (1.2, 2.0, 0.3),  # 40%: within 50, 45, 40
        (3.1, 2.0, 0.0),
        (0.0, 2.0, 0.0),
        (-2.0, -2.0, 1.0),
        (0.0, 0.0, 1.0),
        (0.3, 0.0, 0.5),  # from a truth of 0 the error is the answer itself
        (None, 2.0, 0.0),
    ],
)
def test_mean_relative_accuracy_by_worked_examples(answer: float | None, truth: float, accuracy: float) -> None:
    assert mean_relative_accuracy(answer, truth) == pytest.approx(accuracy)


def test_moves_are_scored_along_five_axes() -> None:
    truth = "move_right:0.5,move_up:0.2,rotate_left:20"
    assert moves_accuracy("move_right:0.5, move_up: 0.2, rotate_left:20", truth) == 1.0
    assert moves_accuracy("move_left:-0.5,move_down:-0.2,rotate_left:20", truth) == 1.0
    assert moves_accuracy("move_right:0.5", truth) == pytest.approx(3 / 5), "two axes still, two missed"
    assert moves_accuracy("to the right", truth) == 0.0
    assert moves_in("Move_Right: 1, rotate_up:-3.5") == {"move_right": 1.0, "rotate_up": -3.5}
