"""Brings scored answers together: accuracies and other means with 95% intervals, over all questions and by kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.intervals import mean_interval
from stages.evaluation.rules.yes_no import yes_scores
from stages.evaluation.scoring import normalised

MEASURED: Final[Mapping[ScoringRule, str]] = {
    "numeric": "mra",
    "moves": "mra",
    "vqa": "vqa_accuracy",
    "anls": "anls",
}
"""Scoring rules by which an answer is more or less right, and not right or wrong, each with the name of its mean."""
MEANS: Final[Mapping[str, str]] = {"mra": "mean relative accuracy", "anls": "ANLS", "vqa_accuracy": "VQA accuracy"}
"""Names of such means, in order, each with what it is called for readers."""


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One answered question."""

    kind: str
    truth: str
    correct: bool
    blind_correct: bool | None
    """Whether the blind control was right; None if it could not be asked."""
    shuffled_correct: bool | None = None
    """Whether the answer to shuffled frames was right; None where it was not asked."""
    scoring: ScoringRule = "exact"
    """How the answers are scored."""
    score: float = 0.0
    """Score of the answer, from 0 to 1, by a rule of `MEASURED`; not used by other rules."""
    blind_score: float | None = None
    """Score of the blind control by such a rule."""
    shuffled_score: float | None = None
    """Score of the answer to shuffled frames by such a rule."""
    num_options: int | None = None
    """Options of the question; None where they are not known."""
    cluster: int | None = None
    """Number of the questions that share pictures with it; None where it shares none."""
    sets: tuple[str, ...] = ()
    """Sets that are right where all their questions are, as `figure:17`."""
    says_yes: bool | None = None
    """Whether the answer is yes, by rule `yes_no`; None where it says neither yes nor no."""

    @property
    def value(self) -> float:
        """The score of the answer: 1 where it is right and 0 where it is wrong, or what it scores by another rule."""
        return self.score if self.scoring in MEASURED else float(self.correct)


def metrics(
    answers: Sequence[ScoredAnswer], *, num_failed: int, of_kinds: Sequence[ScoredAnswer] | None = None
) -> dict[str, float]:
    """All metrics of an evaluation, over all questions and for each kind.

    `accuracy`, `accuracy_low`, `accuracy_high` (95%), `accuracy_blind`, `accuracy_shuffled`, `chance`, and the same for
    each kind: `accuracy_colour`, `accuracy_colour_low`, `accuracy_blind_colour`, `chance_colour`. Answers that are more
    or less right have `mra`, `anls` or `vqa_accuracy` instead. Answers yes or no have `precision`, `recall`, `f1` and
    `yes_share` besides, and sets of questions `whole_<set>`, the share of those that are wholly right. Failed questions
    are counted in `num_failed` and enter no metric. A metric over no questions is left out. `of_kinds` are the answers
    as kinds count them, where one counts in several kinds; it counts once among all.
    """
    by_kind: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers if of_kinds is None else of_kinds:
        by_kind[scored.kind].append(scored)
    numbers: dict[str, float] = {"num_questions": len(answers) + num_failed, "num_failed": num_failed}
    marked = {kind: marked_answers(group) for kind, group in by_kind.items()}
    num_marked = sum(map(len, marked.values()))
    if num_marked:
        numbers |= _accuracies(marked_answers(answers), "")
        numbers["chance"] = sum(chance(group) * len(group) for group in marked.values() if group) / num_marked
    numbers |= _other_means(answers, "")
    for kind, group in sorted(by_kind.items()):
        if marked[kind]:
            numbers |= _accuracies(marked[kind], f"_{kind}")
            numbers[f"chance_{kind}"] = chance(marked[kind])
        numbers |= _other_means(group, f"_{kind}")
        numbers[f"num_questions_{kind}"] = len(group)
    return numbers


def marked_answers(answers: Iterable[ScoredAnswer]) -> list[ScoredAnswer]:
    """Those that are right or wrong."""
    return [scored for scored in answers if scored.scoring not in MEASURED]


def chance(answers: Sequence[ScoredAnswer]) -> float:
    """Accuracy of always giving the most frequent truth, on questions of one kind."""
    truths = Counter(normalised(scored.truth) for scored in answers)
    return max(truths.values()) / len(answers)


def kinds_of(numbers: Mapping[str, float]) -> list[str]:
    """The kinds in the result of `metrics` whose answers are right or wrong, in order."""
    return [kind for kind in asked_kinds(numbers) if f"accuracy_{kind}" in numbers and f"chance_{kind}" in numbers]


def asked_kinds(numbers: Mapping[str, float]) -> list[str]:
    """The kinds in the result of `metrics`, in order."""
    asked = "num_questions_"
    return [name.removeprefix(asked) for name in numbers if name.startswith(asked)]


def whole_sets(answers: Iterable[ScoredAnswer]) -> dict[str, list[bool]]:
    """Of each set, by what it is a set of, whether all its questions are right: `{"figure": [True, False]}`.

    Questions of different kinds are never in one set.
    """
    rights: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
    for scored in answers:
        for one in scored.sets:
            name, _, called = one.partition(":")
            key = scored.kind, called
            rights[name][key] = rights[name].get(key, True) and scored.correct
    return {name: list(sets.values()) for name, sets in rights.items()}


def clusters(answers: Sequence[ScoredAnswer]) -> list[int]:
    """The cluster of each answer; those that share no picture have one of their own, with a negative number."""
    return [-number - 1 if scored.cluster is None else scored.cluster for number, scored in enumerate(answers)]


def with_interval(name: str, suffix: str, answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """The mean of the answers' values under a name, and its 95% interval."""
    values = [scored.value for scored in answers]
    low, high = mean_interval(values, clusters(answers))
    return {f"{name}{suffix}": sum(values) / len(values), f"{name}{suffix}_low": low, f"{name}{suffix}_high": high}


def _accuracies(answers: Sequence[ScoredAnswer], suffix: str) -> dict[str, float]:
    numbers = with_interval("accuracy", suffix, answers)
    blind = [scored.blind_correct for scored in answers if scored.blind_correct is not None]
    shuffled = [scored.shuffled_correct for scored in answers if scored.shuffled_correct is not None]
    numbers |= _mean(f"accuracy_blind{suffix}", blind) | _mean(f"accuracy_shuffled{suffix}", shuffled)
    asked = [scored for scored in answers if scored.scoring == "yes_no"]
    if asked:
        truths = [normalised(scored.truth) == "yes" for scored in asked]
        yes = yes_scores(truths, [scored.says_yes for scored in asked])
        numbers |= {f"{name}{suffix}": value for name, value in yes.items()}
    for name, rights in whole_sets(answers).items():
        low, high = mean_interval(rights, range(len(rights)))
        numbers |= _mean(f"whole_{name}{suffix}", rights)
        numbers |= {f"whole_{name}{suffix}_low": low, f"whole_{name}{suffix}_high": high}
    return numbers


def _other_means(answers: Sequence[ScoredAnswer], suffix: str) -> dict[str, float]:
    by_name: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers:
        if scored.scoring in MEASURED:
            by_name[MEASURED[scored.scoring]].append(scored)
    numbers: dict[str, float] = {}
    for name, group in sorted(by_name.items()):
        numbers |= with_interval(name, suffix, group)
        blind = [scored.blind_score for scored in group if scored.blind_score is not None]
        shuffled = [scored.shuffled_score for scored in group if scored.shuffled_score is not None]
        numbers |= _mean(f"{name}_blind{suffix}", blind) | _mean(f"{name}_shuffled{suffix}", shuffled)
    return numbers


def _mean(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: sum(values) / len(values)} if values else {}
