"""Brings the scores of a benchmark's questions together as its authors do.

`score` is the overall score, `score_95_low` and `score_95_high` its 95% interval, and `score_<group>` that of a group
of kinds, such as VSI-Bench's `object_rel_direction` of three levels. MME's scores are points, of which there are up to
200 for each kind. SITE adjusts accuracies for guessing: `chance_adjusted`, `chance_adjusted_<kind>`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from stages.benchmarks.benchmark import Benchmark
from stages.evaluation.intervals import share_interval
from stages.evaluation.metrics import ScoredAnswer, clusters, whole_sets, with_interval
from stages.evaluation.rules.yes_no import yes_scores
from stages.evaluation.scoring import normalised
from stages.formats.permutation import Shuffle

MAX_GROUPS: Final = 50
"""Groups of pictures that are left out, one at a time, to find the interval of a score that is no mean of questions."""
MIN_GROUPS: Final = 10
"""Groups for which such an interval is given, at least."""
NUM_OPTIONS: Final = 4
"""Options that a question is taken to have where they are not listed."""
_ROUNDING: Final = 1e-12


def benchmark_scores(answers: Sequence[ScoredAnswer], benchmark: Benchmark) -> dict[str, float]:
    """The scores of a benchmark; {} for no answers. Kinds and groups without an answer enter no mean."""
    if not answers:
        return {}
    by_kind = _by_kind(answers)
    kinds = _kind_scores(by_kind, benchmark)
    groups = _group_scores(kinds, benchmark)
    numbers = {"score": overall_score(answers, benchmark)}
    numbers |= _interval(answers, benchmark, numbers["score"])
    numbers |= {f"score_{group}": value for group, value in groups.items()}
    if benchmark.is_chance_adjusted:
        numbers["chance_adjusted"] = chance_adjusted(answers)
        numbers |= {f"chance_adjusted_{kind}": chance_adjusted(group) for kind, group in sorted(by_kind.items())}
    return numbers


def counted_answers(answers: Sequence[ScoredAnswer], benchmark: Benchmark) -> list[ScoredAnswer]:
    """The answers with those of several kinds once for each: `popular_random` of POPE as `popular` and as `random`.

    What comes of one answer is in one cluster.
    """
    return [
        replace(scored, kind=kind, cluster=cluster)
        for scored, cluster in zip(answers, clusters(answers), strict=True)
        for kind in (sorted(benchmark.joined_kinds & set(scored.kind.split("_"))) or [scored.kind])
    ]


def chance_adjusted(answers: Sequence[ScoredAnswer]) -> float:
    """Accuracy adjusted for guessing: 0 where it is as good as guessing, 1 where all is right.

    (right - expected) / (asked - expected), where a question of n options adds 1 / n to the expected: 3 right of 4 with
    four options each are (3 - 1) / (4 - 1).
    """
    right = sum(scored.correct for scored in answers)
    expected = sum(1 / (scored.num_options or NUM_OPTIONS) for scored in answers)
    return (right - expected) / (len(answers) - expected) if len(answers) > expected else 0.0


def overall_score(answers: Sequence[ScoredAnswer], benchmark: Benchmark) -> float:  # noqa: PLR0911  one for each case
    """The overall score of some answers, at least one."""
    kinds = _kind_scores(_by_kind(answers), benchmark)
    sets = {name: _mean(rights) for name, rights in whole_sets(answers).items()}
    questions = _mean([scored.value for scored in answers])
    match benchmark.overall:
        case "questions":
            return questions
        case "kinds":
            return _mean(list(kinds.values()))
        case "groups":
            grouped = {kind for members in benchmark.groups.values() for kind in members}
            groups = _group_scores(kinds, benchmark)
            return _mean([*groups.values(), *(value for kind, value in kinds.items() if kind not in grouped)])
        case "f1":
            truths = [normalised(scored.truth) == "yes" for scored in answers]
            return yes_scores(truths, [scored.says_yes for scored in answers])["f1"]
        case "sets":
            return _mean(list(sets.values()) or [questions])
        case "questions_and_sets":
            return _mean([questions, *sets.values()])
        case "points":
            return sum(kinds.values())


def _by_kind(answers: Sequence[ScoredAnswer]) -> dict[str, list[ScoredAnswer]]:
    by_kind: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers:
        by_kind[scored.kind].append(scored)
    return by_kind


def _kind_scores(by_kind: Mapping[str, Sequence[ScoredAnswer]], benchmark: Benchmark) -> dict[str, float]:
    if benchmark.overall == "points":
        return {kind: _points(group) for kind, group in sorted(by_kind.items())}
    return {kind: _mean([scored.value for scored in group]) for kind, group in sorted(by_kind.items())}


def _points(answers: Sequence[ScoredAnswer]) -> float:
    """MME: 100 points for the accuracy, and 100 for the share of pictures both of whose questions are right."""
    sets = [right for rights in whole_sets(answers).values() for right in rights]
    return 100 * _mean([scored.value for scored in answers]) + (100 * _mean(sets) if sets else 0.0)


def _group_scores(kinds: Mapping[str, float], benchmark: Benchmark) -> dict[str, float]:
    together = sum if benchmark.overall == "points" else _mean
    members = {name: [kinds[kind] for kind in group if kind in kinds] for name, group in benchmark.groups.items()}
    return {name: together(values) for name, values in members.items() if values}


def _interval(answers: Sequence[ScoredAnswer], benchmark: Benchmark, score: float) -> dict[str, float]:
    """The 95% interval of the overall score.

    That of a mean of questions is in `intervals.py`. The variance of another one is found by leaving out one group of
    pictures after the other (delete-a-group jackknife, Kott 2001): time grows with 50 times the answers. As there, it
    is turned into a number of independent questions, of which Wilson's interval is taken, so that no bound is beyond
    what can be reached. There is none for fewer than ten groups.
    """
    import numpy as np

    if benchmark.overall == "questions":
        found = with_interval("score", "", answers)
        return {"score_95_low": found["score_low"], "score_95_high": found["score_high"]}
    groups = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters(answers)))}
    num_groups = min(MAX_GROUPS, len(groups))
    if num_groups < MIN_GROUPS:
        return {}
    # Tables are in an order that may matter, so that the groups are drawn.
    drawn = Shuffle(len(groups), "groups of pictures").places(np.arange(len(groups))) % num_groups
    numbers = [drawn[groups[cluster]] for cluster in clusters(answers)]
    without = [
        overall_score([scored for scored, own in zip(answers, numbers, strict=True) if own != left_out], benchmark)
        for left_out in range(num_groups)
    ]
    most = _most(answers, benchmark)
    middle, share = _mean(without) / most, score / most
    variance = (num_groups - 1) / num_groups * sum((one / most - middle) ** 2 for one in without)
    # Where all or none is right there is no variance: questions that share pictures tell as much as one.
    alone = share * (1 - share)
    number = max(1.0, alone / variance) if min(alone, variance) > _ROUNDING else len(groups)
    low, high = share_interval(share, number)
    return {"score_95_low": min(low * most, score), "score_95_high": max(high * most, score)}


def _most(answers: Sequence[ScoredAnswer], benchmark: Benchmark) -> float:
    """The highest score that these answers could have: 1, or points for each kind."""
    if benchmark.overall != "points":
        return 1.0
    return sum(200.0 if whole_sets(group) else 100.0 for group in _by_kind(answers).values())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
