"""The scores of an evaluation as tables: each kind of question beside its controls, and a benchmark beside papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipelines.screen.text_table import TextTable, number
from stages.benchmarks.published import POINTS, published_scores
from stages.evaluation.retrieval.recall import RANKS, SIDES, has_recalls

SHOWN: Final[Mapping[str, str]] = {"accuracy": "", "mra": "MRA", "anls": "ANLS", "vqa_accuracy": "VQA accuracy"}
"""Means that are shown with a row for each kind of question: name in an evaluation to what is written behind the kind.
MRA is mean relative accuracy of numbers."""

UNTRAINED: Final = " (not trained for it)"
"""Stands behind recalls of a checkpoint whose lineage has no contrastive loss."""


def accuracy_table(metrics: Mapping[str, float]) -> TextTable:
    """The accuracy of all questions and of each kind with its interval, beside the controls and guessing.

    Answers that are more or less right have rows of their own, with the name of their mean.
    """
    controls = ["blind", "shuffled"] if any("_shuffled" in key for key in metrics) else ["blind"]
    table = TextTable("questions", *map(number, ("accuracy", "95% interval", *controls, "guessing")))
    kinds = sorted(key.removeprefix("num_questions") for key in metrics if key.startswith("num_questions_"))
    for name, shown in SHOWN.items():
        for kind in ("", *kinds):
            if f"{name}{kind}" in metrics:
                beside = [metrics.get(f"{name}_{control}{kind}") for control in controls]
                beside += [metrics.get(f"chance{kind}") if name == "accuracy" else None]
                told = ": ".join(filter(None, (kind.removeprefix("_") or "all", shown)))
                value = metrics[f"{name}{kind}"]
                table.add(told, _shown(value), _interval(metrics, f"{name}{kind}"), *map(_shown, beside))
    return table


def retrieval_table(metrics: Mapping[str, float]) -> TextTable | None:
    """Recall of captions by pictures and of pictures by captions; None where no pairs were looked up.

    The heading says where the checkpoint was not trained for it.
    """
    num_failed = metrics.get("num_retrieval_failed")
    if not has_recalls(metrics) and not num_failed:
        return None
    heading = f"retrieval{UNTRAINED if metrics.get('trained_for_retrieval') == 0 else ''}"
    table = TextTable(heading, *map(number, ("recall", "95% interval", "chance", "among")))
    sides = zip(SIDES, ("picture to caption", "caption to picture"), ("captions", "pictures"), strict=True)
    for name, shown, among in sides:
        for k in RANKS if has_recalls(metrics) else ():
            metric = f"{name}_r{k}"
            recall, chance = _shown(metrics[metric]), _shown(metrics.get(f"chance_{metric}"))
            sought = f"{metrics[f'num_retrieval_{among}']:,.0f} {among}"
            table.add(f"{shown}, R@{k}", recall, _interval(metrics, metric), chance, sought)
    if num_failed:
        table.add(f"not looked up: {num_failed:,.0f} pairs")
    return table


def published_table(benchmark: str, metrics: Mapping[str, float]) -> TextTable | None:
    """A benchmark's score beside the published ones, in percent or points; None where either is missing."""
    published = published_scores(benchmark)
    metric = next((points for name, points in POINTS.items() if name == benchmark), "score")
    if not published or metric not in metrics:
        return None
    scale = 1 if metric != "score" else 100
    heading = f"{benchmark}, {'points' if scale == 1 else 'percent'}"
    table = TextTable(heading, number("score"), number("95% interval"))
    low, high = metrics.get("score_95_low"), metrics.get("score_95_high")
    is_known = metric == "score" and low is not None and high is not None
    table.add(
        "this checkpoint",
        f"{metrics[metric] * scale:.1f}",
        f"{low * scale:.1f} to {high * scale:.1f}" if is_known and low is not None and high is not None else "",
    )
    for model, score in published.items():
        table.add(f"{model}, published", f"{score:.1f}", "")
    return table


def _interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"
