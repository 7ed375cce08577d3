"""Decides how many samples of each source are drawn, which samples, and their places in the draw.

Works on plain numbers: shares, sample counts and mean lengths. It knows no recipe, artifact or file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.contract import StageError
from stages.formats.permutation import Shuffle

if TYPE_CHECKING:
    from stages.formats.permutation import Whole


@dataclass(frozen=True)
class Allotment:
    """How many samples of each source are drawn, and out of how many."""

    num_kept: Mapping[str, int]
    """Samples that can be drawn, by source."""
    num_drawn: Mapping[str, int]
    """Drawings, by source; more than `num_kept` where samples are repeated."""

    @property
    def total(self) -> int:
        """Drawings of all sources together."""
        return sum(self.num_drawn.values())

    def first_slot(self, source: str) -> int:
        """Number of the first drawing of a source, before all drawings are shuffled. Sources are in order of name."""
        return sum(drawn for name, drawn in self.num_drawn.items() if name < source)


def allot(
    shares: Mapping[str, float],
    num_kept: Mapping[str, int],
    mean_tokens: Mapping[str, float],
    *,
    num_samples: int | None = None,
    max_epochs: Mapping[str, float],
) -> Allotment:
    """How many samples of each source make the shares.

    `mean_tokens` is the mean length of a sample by source, or 1 everywhere where shares count samples. `num_samples` is
    the size of the draw; None makes it as large as `max_epochs` (passes over a source, 1 where it is not named) allows.
    Raises `StageError` where a source has no sample, too few for its share, or would get none.

    Shares 1:1 in tokens of texts of 500 tokens and pairs of 100 draw five pairs for each text.
    """
    _check_something_to_draw(num_kept, mean_tokens)
    weights = {source: share / mean_tokens[source] for source, share in sorted(shares.items())}
    most = {source: max_epochs.get(source, 1.0) * num_kept[source] for source in weights}
    if num_samples is None:
        scale = min(most[source] / weight for source, weight in weights.items())
    else:
        scale = num_samples / sum(weights.values())
    num_drawn = _round_to_sum({source: weight * scale for source, weight in weights.items()})
    _check_enough_to_draw(num_drawn, num_kept, most)
    return Allotment(num_kept={source: num_kept[source] for source in num_drawn}, num_drawn=num_drawn)


def _check_something_to_draw(num_kept: Mapping[str, int], mean_tokens: Mapping[str, float]) -> None:
    for source, number in num_kept.items():
        if number == 0 or mean_tokens[source] == 0:
            why = "all of its samples are held out" if number == 0 else "none of its samples can be packed"
            raise StageError(f"nothing can be drawn from source {source!r}: {why}")


def _check_enough_to_draw(num_drawn: Mapping[str, int], num_kept: Mapping[str, int], most: Mapping[str, float]) -> None:
    total = sum(num_drawn.values())
    for source, drawn in num_drawn.items():
        if drawn > math.ceil(most[source]):
            raise StageError(
                f"source {source!r} has {num_kept[source]} samples and its share is {drawn}: "
                f"{drawn / num_kept[source]:.2f} passes over it; allow them with "
                f'max_epochs={{"{source}": {math.ceil(drawn / num_kept[source])}}}, or draw fewer samples'
            )
        if drawn == 0:
            raise StageError(f"source {source!r} gets no sample of {total}; draw more, or leave it out")


def _round_to_sum(quotas: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers near the quotas whose sum is the rounded sum of the quotas: largest remainders are rounded up.

    Quotas 2.5, 3.3 and 4.2 sum to 10 and their floors to 9; 2.5 has the largest remainder and is rounded up: 3, 3, 4.
    """
    floors = {source: math.floor(quota) for source, quota in quotas.items()}
    num_missing = round(sum(quotas.values())) - sum(floors.values())
    by_remainder = sorted(quotas, key=lambda source: floors[source] - quotas[source])
    return {source: floor + (source in by_remainder[:num_missing]) for source, floor in floors.items()}


def drawings(allotment: Allotment, source: str, first: int, num_samples: int, seed: int) -> tuple[Whole, Whole, Whole]:
    """The drawings of the samples `first` to `first + num_samples` - 1 of a source, as three arrays [drawings].

    The arrays are the number of the sample counted from `first`, its repetition (0 the first time) and its place in the
    draw, ordered by sample and repetition. A source is passed over in one shuffled order until enough samples are
    drawn: numbers of drawings of two samples differ by one at most.

    Example: 7 drawings of 3 samples. The sample of rank r in the shuffled order takes the slots r, r + 3 and r + 6 that
    are below 7: the sample of rank 0 is drawn three times, the others twice.
    """
    import numpy as np

    kept, drawn = allotment.num_kept[source], allotment.num_drawn[source]
    # The keys "turn" and "place" are part of what is drawn: other keys would draw other samples.
    ranks = Shuffle(kept, f"{seed}/turn/{source}").places(np.arange(first, first + num_samples))
    num_passes = -(-drawn // kept)
    slots = ranks[:, None] + kept * np.arange(num_passes)
    samples, repetitions = np.nonzero(slots < drawn)
    chosen = slots[samples, repetitions] + allotment.first_slot(source)
    return samples, repetitions, Shuffle(allotment.total, f"{seed}/place").places(chosen)
