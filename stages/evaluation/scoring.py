"""Scores answers: exact match after normalisation, 95% intervals of accuracies, and the accuracy of guessing.

Pure functions on plain values. Nothing is parsed out of a longer answer: "the red one" is wrong if the truth is "red".
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Standard normal quantile at 97.5%, for two-sided 95% intervals."""

RESERVED_KINDS = frozenset({"low", "high", "blind"})
"""Kinds that would make a metric name ambiguous: `accuracy_low` is the lower bound of `accuracy`."""


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One answered question."""

    kind: str
    truth: str
    correct: bool
    blind_correct: bool | None
    """Whether the blind control was right; None if it could not be asked."""


def normalised(text: str) -> str:
    """The text in NFKC, case folded, with runs of white space as one space and no punctuation at the ends.

    >>> normalised('  "Dark  Red". ')
    'dark red'
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    first, last = 0, len(folded)
    while first < last and _is_trim(folded[first]):
        first += 1
    while last > first and _is_trim(folded[last - 1]):
        last -= 1
    return folded[first:last]


def is_correct(answer: str, truth: str) -> bool:
    """Whether answer and truth are equal after normalisation. An empty answer is never right."""
    return normalised(answer) == normalised(truth) != ""


def is_metric_name(kind: str) -> bool:
    """Whether a kind can be part of a metric name, such as `accuracy_colour`, without ambiguity."""
    plain = kind.replace("_", "").replace("-", "")
    return plain.isascii() and plain.isalnum() and not RESERVED_KINDS & set(kind.split("_"))


def wilson_interval(num_correct: int, num_asked: int) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson, JASA 1927), which is valid near 0 and 1: 10 of 10 gives 0.72 to 1."""
    if num_asked == 0:
        return 0.0, 1.0
    share = num_correct / num_asked
    spread = Z_95 * math.sqrt(share * (1 - share) / num_asked + Z_95**2 / (4 * num_asked**2))
    centre = share + Z_95**2 / (2 * num_asked)
    scale = 1 + Z_95**2 / num_asked
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def metrics(answers: Sequence[ScoredAnswer], *, num_failed: int) -> dict[str, float]:
    """All metrics of an evaluation, over all questions and for each kind.

    `accuracy`, `accuracy_low`, `accuracy_high` (95%), `accuracy_blind`, `chance`, and the same for each kind:
    `accuracy_colour`, `accuracy_colour_low`, `accuracy_blind_colour`, `chance_colour`. Failed questions are counted in
    `num_failed` and enter no accuracy. A metric over no questions is left out.
    """
    by_kind: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers:
        by_kind[scored.kind].append(scored)
    numbers: dict[str, float] = {"num_questions": len(answers) + num_failed, "num_failed": num_failed}
    if answers:
        numbers |= _accuracies(answers, "")
        numbers["chance"] = sum(chance(group) * len(group) for group in by_kind.values()) / len(answers)
    for kind, group in sorted(by_kind.items()):
        numbers |= _accuracies(group, f"_{kind}")
        numbers[f"chance_{kind}"] = chance(group)
        numbers[f"num_questions_{kind}"] = len(group)
    return numbers


def chance(answers: Sequence[ScoredAnswer]) -> float:
    """Accuracy of always giving the most frequent truth, on questions of one kind."""
    truths = Counter(normalised(scored.truth) for scored in answers)
    return max(truths.values()) / len(answers)


def kinds_of(numbers: Mapping[str, float]) -> list[str]:
    """The kinds in the result of `metrics`, in order."""
    return [name.removeprefix("chance_") for name in numbers if name.startswith("chance_")]


def _accuracies(answers: Sequence[ScoredAnswer], suffix: str) -> dict[str, float]:
    right, num_asked = _tally(scored.correct for scored in answers)
    blind_right, num_blind = _tally(scored.blind_correct for scored in answers if scored.blind_correct is not None)
    low, high = wilson_interval(right, num_asked)
    numbers = {f"accuracy{suffix}": right / num_asked, f"accuracy{suffix}_low": low, f"accuracy{suffix}_high": high}
    if num_blind:
        numbers[f"accuracy_blind{suffix}"] = blind_right / num_blind
    return numbers


def _tally(outcomes: Iterable[bool]) -> tuple[int, int]:
    """The number of true outcomes, and of all."""
    counts = Counter(outcomes)
    return counts[True], counts.total()


def _is_trim(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")
