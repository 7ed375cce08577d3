"""Brings the scores of a benchmark's questions together as its authors do.

`score` is the overall score and `score_<group>` that of a group of kinds, such as VSI-Bench's `object_rel_direction` of
three levels. SITE adjusts accuracies for guessing: `chance_adjusted`, `chance_adjusted_<kind>`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from stages.benchmarks.benchmark import Benchmark
from stages.evaluation.scoring import ScoredAnswer

NUM_OPTIONS: Final = 4
"""Options that a question is taken to have where they are not listed."""


def benchmark_scores(answers: Sequence[ScoredAnswer], benchmark: Benchmark) -> dict[str, float]:
    """The scores of a benchmark; {} for no answers. Kinds and groups without an answer enter no mean."""
    if not answers:
        return {}
    by_kind: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers:
        by_kind[scored.kind].append(scored)
    kinds = {kind: _mean([scored.value for scored in group]) for kind, group in sorted(by_kind.items())}
    groups = {
        group: _mean([kinds[kind] for kind in members if kind in kinds])
        for group, members in benchmark.groups.items()
        if any(kind in kinds for kind in members)
    }
    numbers = {"score": _overall(answers, benchmark, kinds, groups)}
    numbers |= {f"score_{group}": value for group, value in groups.items()}
    if benchmark.is_chance_adjusted:
        numbers["chance_adjusted"] = chance_adjusted(answers)
        numbers |= {f"chance_adjusted_{kind}": chance_adjusted(group) for kind, group in sorted(by_kind.items())}
    return numbers


def chance_adjusted(answers: Sequence[ScoredAnswer]) -> float:
    """Accuracy adjusted for guessing: 0 where it is as good as guessing, 1 where all is right.

    (right - expected) / (asked - expected), where a question of n options adds 1 / n to the expected: 3 right of 4 with
    four options each are (3 - 1) / (4 - 1).
    """
    right = sum(scored.correct for scored in answers)
    expected = sum(1 / (scored.num_options or NUM_OPTIONS) for scored in answers)
    return (right - expected) / (len(answers) - expected) if len(answers) > expected else 0.0


def _overall(
    answers: Sequence[ScoredAnswer], benchmark: Benchmark, kinds: Mapping[str, float], groups: Mapping[str, float]
) -> float:
    match benchmark.overall:
        case "questions":
            return _mean([scored.value for scored in answers])
        case "kinds":
            return _mean(list(kinds.values()))
        case "groups":
            grouped = {kind for members in benchmark.groups.values() for kind in members}
            return _mean([*groups.values(), *(value for kind, value in kinds.items() if kind not in grouped)])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
