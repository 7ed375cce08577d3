"""Scores answers that are numbers by mean relative accuracy, as VSI-Bench and SPAR-Bench do.

The relative error of an answer is |answer - truth| / |truth|, and |answer| where the truth is 0. Its mean relative
accuracy is the share of ten tolerances, 50%, 45%, ..., 5%, within which the error lies. For a truth of 2.0, the answer
2.3 has an error of 15%, which lies within eight of them: 0.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from stages.evaluation.final_answers import after_thought

_STEP: Final = (0.95 - 0.5) / 9
TOLERANCES: Final = (*(1 - (number * _STEP + 0.5) for number in range(9)), 1 - 0.95)
"""Relative errors within which an answer counts: 0.5, 0.45, ..., 0.05."""
AXES: Final = (
    ("move_right", "move_left"), ("move_up", "move_down"), ("move_forward", "move_backward"),
    ("rotate_right", "rotate_left"), ("rotate_up", "rotate_down"),
)  # fmt: skip
"""Moves of a camera and their opposites, as SPAR-Bench names them."""
NUMBER_WORDS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
"""Words that count as numbers where an answer has no digits."""
_ANSWER_TAG: Final = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WORD: Final = re.compile(rf"\b({'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_MOVE: Final = re.compile(r"([a-z]+_[a-z]+)\s*:\s*([-+]?\d*\.?\d+)", re.IGNORECASE)


def number_in(answer: str) -> float | None:
    """The number that an answer gives; None where it gives none.

    It is sought in `<answer>` if there is one, else behind `</think>`, else in all of it: the first number in digits,
    or, where there are no digits, the first number word from zero to twelve.

    >>> number_in("about 1,200.5 m"), number_in("There are two chairs."), number_in("many")
    (1200.5, 2.0, None)
    """
    tagged = _ANSWER_TAG.search(answer)
    text = tagged[1] if tagged else after_thought(answer)
    if digits := _NUMBER.search(text):
        return float(digits[0].replace(",", ""))
    word = _WORD.search(text)
    return float(NUMBER_WORDS.index(word[1].lower())) if word else None


def mean_relative_accuracy(answer: float | None, truth: float) -> float:
    """The share of the tolerances within which an answer lies; 0 for none.

    >>> mean_relative_accuracy(2.3, 2.0), mean_relative_accuracy(2.0, 2.0), mean_relative_accuracy(3.1, 2.0)
    (0.8, 1.0, 0.0)
    """
    if answer is None:
        return 0.0
    error = abs(answer - truth) / abs(truth) if truth else abs(answer)
    return sum(error <= tolerance for tolerance in TOLERANCES) / len(TOLERANCES)


def moves_accuracy(answer: str, truth: str) -> float:
    """The mean relative accuracy along the five axes of a camera's move, such as `move_right:0.3,rotate_up:20`.

    An axis that is not named does not move. An answer without any move scores 0.
    """
    said, true = moves_in(answer), moves_in(truth)
    if not said:
        return 0.0
    along = [mean_relative_accuracy(_along(said, axis), _along(true, axis)) for axis in AXES]
    return sum(along) / len(along)


def moves_in(text: str) -> dict[str, float]:
    """The moves that a text names, each with its amount."""
    return {name.lower(): float(amount) for name, amount in _MOVE.findall(text)}


def _along(moves: Mapping[str, float], axis: tuple[str, str]) -> float:
    return moves.get(axis[0], 0.0) - moves.get(axis[1], 0.0)
