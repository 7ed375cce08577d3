"""95% intervals of means of scores, where questions about one picture are not independent of each other.

The variance of a mean is that of the sums over pictures (linearisation, Cochran 1977, 11.8), but never less than
without pictures. It is turned into the number of independent questions that would have it, and Wilson's interval (JASA
1927) is taken for that number, which is valid near 0 and 1, as Korn and Graubard (1998) do for samples of clusters.
Time and memory grow with the number of questions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

Z_95: Final = 1.959963984540054
"""Standard normal quantile at 97.5%, for two-sided 95% intervals."""
_ROUNDING: Final = 1e-12


def wilson_interval(num_correct: int, num_asked: int) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson, JASA 1927), which is valid near 0 and 1: 10 of 10 gives 0.72 to 1."""
    return share_interval(num_correct / num_asked, num_asked) if num_asked else (0.0, 1.0)


def share_interval(share: float, number: float) -> tuple[float, float]:
    """Wilson's interval of a share among this many independent questions, which may be a fraction."""
    spread = Z_95 * math.sqrt(share * (1 - share) / number + Z_95**2 / (4 * number**2))
    centre = share + Z_95**2 / (2 * number)
    scale = 1 + Z_95**2 / number
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mean_interval(scores: Sequence[float], clusters: Sequence[int]) -> tuple[float, float]:
    """The 95% interval of the mean of scores from 0 to 1; questions with the same number are about the same picture.

    >>> mean_interval([1, 1, 0, 0], [0, 1, 2, 3]) == wilson_interval(2, 4)
    True
    """
    if not scores:
        return 0.0, 1.0
    return share_interval(sum(scores) / len(scores), independent_questions(scores, clusters))


def independent_questions(scores: Sequence[float], clusters: Sequence[int]) -> float:
    """How many independent questions with right or wrong answers would tell the mean as precisely as these.

    Four questions about each of ten pictures, of which all or none are right, tell as much as ten.

    >>> round(independent_questions([1, 1, 0, 0], [0, 0, 1, 1]), 2)
    1.33
    """
    number, num_clusters = len(scores), len(set(clusters))
    mean = sum(scores) / number
    sums: dict[int, float] = defaultdict(float)
    for score, cluster in zip(scores, clusters, strict=True):
        sums[cluster] += score - mean
    alone = sum((score - mean) ** 2 for score in scores)
    if num_clusters < 2 or alone < _ROUNDING:
        return num_clusters
    scale = num_clusters / (num_clusters - 1) * (number - 1) / number
    inflation = max(1.0, scale * sum(one**2 for one in sums.values()) / alone)
    is_marked = all(score in (0, 1) for score in scores)
    tell = number if is_marked else mean * (1 - mean) * number**2 / alone
    return tell / (inflation if num_clusters < number else 1.0)


def clusters_of(pictures: Sequence[Sequence[bytes]]) -> list[int]:
    """The cluster of each question, given the pictures and clips of each: two that share one are in one cluster.

    >>> clusters_of([[b"a"], [b"b", b"c"], [], [b"c", b"a"], []])
    [0, 0, 2, 0, 4]
    """
    first_with: dict[bytes, int] = {}
    above = list(range(len(pictures)))

    def root(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for number, own in enumerate(pictures):
        for picture in own:
            one, other = sorted((root(number), root(first_with.setdefault(picture, number))))
            above[other] = one
    return [root(number) for number in range(len(pictures))]
