"""The facts that a draw records of each source, and their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stages.artifacts.records import PartRecord
from stages.contract import PartFacts


class DrawFacts(PartFacts):
    """What a part of phase `draw` records of the part of a source that it draws from.

    Draws of stage number 1 lack `num_held_out`, and only shares in tokens have `num_tokens`.
    """

    source: str
    """Name of the source in the mixture."""
    part: str = ""
    """Part of the source."""
    num_samples: int = 0
    """Samples that could be drawn."""
    num_held_out: int = 0
    """Samples that are held out, which could not be drawn."""
    num_distinct: int = 0
    """Samples that were drawn at least once."""
    num_drawn: int = 0
    """Drawings from the part."""
    num_tokens: float = 0
    """Tokens of all drawings."""


COUNTED = ("samples", "held_out", "distinct", "drawn", "tokens")
"""The numbers that parts of a draw record of their source, as facts `num_<name>`."""


def drawn_by_source(records: Iterable[PartRecord]) -> dict[str, dict[str, float]]:
    """What was drawn of each source: the sums of the facts of phase `draw`, under the names `COUNTED`.

    `samples` could be drawn and `held_out` could not; `distinct` of the samples were, in `drawn` drawings. Draws with
    shares in tokens also have the `tokens` of all drawings.
    """
    by_source: dict[str, Counter[str]] = {}
    for facts in map(DrawFacts.of, records):
        numbers = {what: getattr(facts, f"num_{what}") for what in COUNTED if f"num_{what}" in facts.model_fields_set}
        by_source.setdefault(facts.source, Counter()).update(numbers)
    return {source: dict(numbers) for source, numbers in sorted(by_source.items())}
