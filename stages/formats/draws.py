"""What a draw holds of each source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stages.artifacts.records import PartRecord

COUNTED = ("samples", "held_out", "distinct", "drawn", "tokens")
"""What the parts of a draw count of their source, as facts `num_<what>`."""


def drawn_by_source(records: Iterable[PartRecord]) -> dict[str, dict[str, float]]:
    """What was really drawn, of each source: the sums of what the parts of phase `draw` recorded.

    `samples` could be drawn and `held_out` could not; `distinct` of them were, in `drawn` drawings, of `tokens` if
    the shares count those.
    """
    found: dict[str, Counter[str]] = {}
    for record in records:
        numbers = {what: record.facts[f"num_{what}"] for what in COUNTED if f"num_{what}" in record.facts}
        found.setdefault(record.facts["source"], Counter()).update(numbers)
    return {source: dict(numbers) for source, numbers in sorted(found.items())}
