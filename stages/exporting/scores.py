"""The scores of evaluations as a model card lists them: which questions, how many, the score, its 95% interval.

Owns which metrics of an evaluation are shown, and their names on a model hub. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PAIRS: Final = "pairs"
"""What recalls are of."""
UNTRAINED_PAIRS: Final = "pairs (not trained for retrieval)"
"""What recalls are of where no training behind the checkpoint compared pictures with captions."""
OVERALL: Final[Mapping[str, str]] = {
    "accuracy": "accuracy",
    "mra": "mean relative accuracy",
    "anls": "ANLS",
    "vqa_accuracy": "VQA accuracy",
    "f1": "F1 of the answer yes",
    "score": "score of the benchmark",
    "chance_adjusted": "accuracy adjusted for guessing",
    **{f"image_to_text_r{k}": f"R@{k}, captions of a picture" for k in (1, 5, 10)},
    **{f"text_to_image_r{k}": f"R@{k}, pictures of a caption" for k in (1, 5, 10)},
}
"""Metrics over all questions, in order: name in an evaluation to name on the card."""
OF_KINDS: Final = ("accuracy", "mra", "anls", "vqa_accuracy", "f1")
"""Metrics over the questions of one kind, in order."""
INTERVALS: Final[Mapping[str, str]] = {"score": "score_95"}
"""Metrics whose interval has another name than they have, because a benchmark may have a group called `low`."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The numbers of one evaluation."""

    name: str
    """Name of the set of questions."""
    benchmark: str | None
    """Benchmark that it is, by the name of its reader; None for questions of the user's own."""
    evaluation: str
    """Fingerprint of the evaluation."""
    questions: str
    """Content digest of the questions."""
    numbers: Mapping[str, float]
    """Metrics by name, as `evaluate` records them."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of an evaluation."""

    metric: str
    """Name of the metric in the evaluation, such as `accuracy` or `mra`."""
    of: str
    """The kind of question, '' for all; `PAIRS` or `UNTRAINED_PAIRS` of recalls."""
    value: float
    """The number itself, from 0 to 1; of MME points, of which there are up to 2800."""
    interval: tuple[float, float] | None
    """Two-sided 95% interval; None where it is not known."""
    blind: float | None
    """The metric where each question is asked with the pictures of another; None where it was not."""
    chance: float | None
    """What the most frequent answer alone would give."""
    num_questions: int | None
    """Number of questions that were asked; None where it is not known."""


def scores_of(measured: Measured) -> list[Score]:
    """The scores over all questions, then those of each kind."""
    numbers = measured.numbers
    asked = "num_questions_"
    kinds = [name.removeprefix(asked) for name in numbers if name.startswith(asked)]
    overall = [_score(numbers, metric, "") for metric in OVERALL if metric in numbers]
    of_kinds = [_score(numbers, metric, kind) for kind in kinds for metric in OF_KINDS if f"{metric}_{kind}" in numbers]
    return [*overall, *of_kinds]


def _score(numbers: Mapping[str, Any], metric: str, kind: str) -> Score:
    if metric.startswith(("image_to_text_", "text_to_image_")):
        return _recall(numbers, metric)
    suffix = f"_{kind}" if kind else ""
    bound = f"{INTERVALS.get(metric, metric)}{suffix}"
    low, high = numbers.get(f"{bound}_low"), numbers.get(f"{bound}_high")
    failed = 0 if kind else numbers.get("num_failed", 0)
    asked = numbers.get(f"num_questions{suffix}")
    return Score(
        metric=metric,
        of=kind,
        value=numbers[f"{metric}{suffix}"],
        interval=None if low is None or high is None else (low, high),
        blind=numbers.get(f"{metric}_blind{suffix}"),
        chance=numbers.get(f"chance{suffix}") if metric == "accuracy" else None,
        num_questions=None if asked is None else int(asked - failed),
    )


def _recall(numbers: Mapping[str, Any], metric: str) -> Score:
    """A recall among held-out pairs. A checkpoint that was not trained for it is measured too, and said to be so."""
    side = "pictures" if metric.startswith("image") else "captions"
    return Score(
        metric=metric,
        of=UNTRAINED_PAIRS if numbers.get("trained_for_retrieval") == 0 else PAIRS,
        value=numbers[metric],
        interval=(numbers[f"{metric}_low"], numbers[f"{metric}_high"]),
        blind=None,
        chance=numbers.get(f"chance_{metric}"),
        num_questions=int(numbers[f"num_retrieval_{side}"]),
    )
