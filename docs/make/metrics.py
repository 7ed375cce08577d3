"""The reference of metrics, from the texts of the functions that compute them."""

from __future__ import annotations

import inspect

from docs.make.markdown import page, table
from stages.evaluation.metrics import metrics
from stages.training.metrics import Meter


def metrics_page() -> str:
    """What a training and an evaluation report, and what each number means."""
    about, _, listed = _doc(Meter.read).partition("\n\n")
    _, _, scores = _doc(metrics).partition("\n\n")
    rows = (line.split(maxsplit=1) for line in listed.splitlines() if line.strip())
    return page(
        "Metrics",
        "They stand in the manifest, on the pages of MLflow, and in `neo show REF`.",
        "## Of a training",
        about,
        table(("metric", "meaning"), ([f"`{name}`", meaning] for name, meaning in rows)),
        "## Of an evaluation",
        scores,
    )


def _doc(function: object) -> str:
    return inspect.getdoc(function) or ""
