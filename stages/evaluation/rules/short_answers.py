"""Short answers against one or several truths: ANLS, relaxed accuracy, equality, containment.

ANLS is of DocVQA and InfographicVQA (Mathew et al. 2021), relaxed accuracy of ChartQA (Masry et al. 2022), containment
of OCRBench (Liu et al. 2023). Each takes the truth that fits best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MIN_SIMILARITY: Final = 0.5
"""Similarity below which ANLS is 0."""
TOLERANCE: Final = 0.05
"""Largest difference of a number from the truth, as a share of the truth."""


def anls(answer: str, truths: Sequence[str]) -> float:
    """One minus the edit distance over the length of the longer text; 0 where that is below one half.

    Case and runs of white space do not count. One letter wrong of ten scores 0.9.

    >>> anls("Brooklin", ["brooklyn"]), anls("Queens", ["brooklyn"])
    (0.875, 0.0)
    """
    best = max(_similarity(answer, truth) for truth in truths)
    return best if best >= MIN_SIMILARITY else 0.0


def relaxed_accuracy(answer: str, truths: Sequence[str]) -> float:
    """1 where a number is within 5% of the truth, or a text is equal but for case.

    A number with `%` is a hundredth of it. A truth of 0, or one that is no number, must be met exactly.

    >>> relaxed_accuracy("95", ["100"]), relaxed_accuracy("94", ["100"]), relaxed_accuracy("50%", ["0.5"])
    (1.0, 0.0, 1.0)
    """
    return float(any(_is_near(answer.strip(), truth) for truth in truths))


def equality(answer: str, truths: Sequence[str]) -> float:
    """1 where the answer is one of the truths, but for case and white space at the ends.

    >>> equality(" Red", ["red"]), equality("red.", ["red"])
    (1.0, 0.0)
    """
    return float(answer.strip().lower() in [truth.strip().lower() for truth in truths])


def containment(answer: str, truths: Sequence[str], *, is_formula: bool = False) -> float:
    """1 where one of the truths stands in the answer: but for case, or, in a formula, but for spaces.

    >>> containment("It says STOP here", ["stop"]), containment("x^2", ["x ^ 2"], is_formula=True)
    (1.0, 1.0)
    """
    spell = _formula if is_formula else _line
    said = spell(answer)
    return float(any(spell(truth) in said for truth in truths))


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions and substitutions that turn one text into the other (Levenshtein).

    Time grows with the product of the lengths, memory with the shorter of them.

    >>> edit_distance("kitten", "sitting")
    3
    """
    short, long = sorted((one, other), key=len)
    above = list(range(len(short) + 1))
    for row, letter in enumerate(long, start=1):
        line = [row]
        for column, own in enumerate(short):
            line.append(min(above[column + 1] + 1, line[column] + 1, above[column] + (letter != own)))
        above = line
    return above[-1]


def _similarity(answer: str, truth: str) -> float:
    # Both kits compare tidied texts, but divide by the length of the texts as they are, in upper case: "ß" counts two.
    length = max(len(answer.upper()), len(truth.upper()))
    said, right = (" ".join(text.strip().lower().split()) for text in (answer, truth))
    if length == 0 or abs(len(said) - len(right)) > length * (1 - MIN_SIMILARITY):
        return float(length == 0)
    return 1 - edit_distance(said, right) / length


def _is_near(answer: str, truth: str) -> bool:
    said, right = _number(answer), _number(truth)
    if said is not None and right:
        return abs(said - right) / abs(right) <= TOLERANCE
    return answer.lower() == truth.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _line(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
