"""Score answers: when one is right, how sure an accuracy is, and what guessing would have reached.

Pure functions on plain values. The rule for "right" is exact match after `normalised`; nothing is parsed out of a
longer answer, so a model that rambles is wrong.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Standard normal quantile at 97.5%: two sides of a 95% interval."""

RESERVED_KINDS = frozenset({"low", "high", "blind"})
"""Kinds that would be confused with another metric: `accuracy_low` is a bound."""


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One answered question."""

    kind: str
    truth: str
    correct: bool
    blind_correct: bool | None
    """The same with another question's images; None where the blind control could not be asked."""


def normalised(text: str) -> str:
    """What of an answer counts: NFKC, case folded, runs of white space as one space, no punctuation at the ends.

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
    """Whether answer and truth are the same once normalised. An empty answer is never right."""
    return normalised(answer) == normalised(truth) != ""


def is_metric_name(kind: str) -> bool:
    """Whether a kind can be part of a metric's name, such as `accuracy_colour`, without being mistaken."""
    plain = kind.replace("_", "").replace("-", "")
    return plain.isascii() and plain.isalnum() and not RESERVED_KINDS & set(kind.split("_"))


def wilson_interval(num_correct: int, num_asked: int) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson, JASA 1927), which holds at the ends too: 10 of 10 gives 0.72 to 1."""
    if num_asked == 0:
        return 0.0, 1.0
    share = num_correct / num_asked
    spread = Z_95 * math.sqrt(share * (1 - share) / num_asked + Z_95**2 / (4 * num_asked**2))
    centre = share + Z_95**2 / (2 * num_asked)
    scale = 1 + Z_95**2 / num_asked
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def metrics(answers: Sequence[ScoredAnswer], *, num_failed: int) -> dict[str, float]:
    """All numbers of an evaluation, over all questions and for each kind.

    `accuracy`, `accuracy_low`, `accuracy_high` (95%), `accuracy_blind`, `chance` and their namesakes for each kind:
    `accuracy_colour`, `accuracy_colour_low`, `accuracy_blind_colour`, `chance_colour`. Failed questions were not
    answered: they are counted in `num_failed` and in no accuracy. A number that nothing was asked for is left out.
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
    """What the best guess without looking reaches on questions of one kind: the share of the most frequent truth."""
    truths = Counter(normalised(scored.truth) for scored in answers)
    return max(truths.values()) / len(answers)


def kinds_of(numbers: Mapping[str, float]) -> list[str]:
    """The kinds that `metrics` has numbers for, in order."""
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
    """How many are true, and how many there are."""
    counts = Counter(outcomes)
    return counts[True], counts.total()


def _is_trim(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")
