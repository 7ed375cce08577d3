"""What artifacts hold, as columns of a table: parts, items by their end, and the step of a training."""

from __future__ import annotations

from pipelines.screen import text_table
from pipelines.screen.text_table import Cell, sentence
from pipelines.screen.units import counted
from stages.artifacts.head import ManifestHead

HOLDING_COLUMNS = (
    text_table.number("parts", goes=11),
    text_table.number("kept"),
    text_table.number("dropped", goes=12),
    text_table.number("failed", goes=13),
    text_table.number("at step"),
    sentence("remarks"),
)
"""Columns before these that state 1 to 10 go before any of these does."""


def holding_cells(head: ManifestHead) -> tuple[Cell, ...]:
    """The cells of an artifact under `HOLDING_COLUMNS`. A training holds no items; its parts are its checkpoints."""
    if head.at_step is not None:
        lacking = [(head.num_skipped_rows, "damaged row"), (head.num_skipped_steps, "step")]
        words = ", ".join(f"{counted(number, what)} left out" for number, what in lacking if number)
        return (None, None, None, None, head.at_step, words)
    items = head.items
    counts = (items.kept, items.num_dropped or None, items.num_failed or None) if items.total else (None, None, None)
    return (head.last_phase.num_parts, *counts)


def remark_cells(text: str) -> tuple[Cell, ...]:
    """The cells under `HOLDING_COLUMNS` of what is not there, with a sentence."""
    return (*[None] * (len(HOLDING_COLUMNS) - 1), text)


def holding_document(head: ManifestHead | None) -> dict[str, object] | None:
    """What an artifact holds, for `--json`; None of one that is not committed."""
    if head is None:
        return None
    counts = {"items": head.items.model_dump(), "num_parts": head.last_phase.num_parts, "at_step": head.at_step}
    return {**counts, "size_bytes": head.size_bytes}
