"""What artifacts hold, as columns of a table: parts, items by their end, and the step of a training."""

from __future__ import annotations

from pipelines.screen.text_table import Cell, number, sentence
from stages.artifacts.head import ManifestHead

HOLDING_COLUMNS = (
    number("parts", goes=11),
    number("kept"),
    number("dropped", goes=12),
    number("failed", goes=13),
    number("at step"),
    sentence("remarks"),
)
"""Columns before these that state 1 to 10 go before any of these does."""


def holding_cells(head: ManifestHead) -> tuple[Cell, ...]:
    """The cells of an artifact under `HOLDING_COLUMNS`. A training holds no items; its parts are its checkpoints."""
    if head.at_step is not None:
        lacking = [(head.num_skipped_rows, "damaged row"), (head.num_skipped_steps, "step")]
        words = ", ".join(f"{n:,} {what}{'' if n == 1 else 's'} left out" for n, what in lacking if n)
        return (None, None, None, None, head.at_step, words)
    items = head.items
    counts = (items.kept, items.num_dropped or None, items.num_failed or None) if items.total else (None, None, None)
    return (head.last_phase.num_parts, *counts)


def remark_cells(text: str) -> tuple[Cell, ...]:
    """The cells under `HOLDING_COLUMNS` of what is not there, with a sentence."""
    return (*[None] * (len(HOLDING_COLUMNS) - 1), text)
