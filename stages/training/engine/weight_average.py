"""Averages of weights, kept or computed by each rank for its own slices of the fp32 weights.

Owns the exponential moving average (EMA) that is kept while training runs, and the mean over several states. Slices are
averaged value by value, in fp32, so neither ranks nor ZeRO stages change the result.

EMA: e[0] = w[0], the weights that training begins with; after each update e[t] = d e[t-1] + (1 - d) w[t] (Polyak and
Juditsky 1992, in the exponential form of Tarvainen and Valpola, arXiv 1703.01780). There is no correction of the
beginning, since e[0] is no zero. Mean of K states: (w[1] + ... + w[K]) / K, summed in their order (averages of
checkpoints: Vaswani et al., arXiv 1706.03762, section 6.1; Izmailov et al., arXiv 1803.05407).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from stages.training.engine.zero_slices import EMA, WEIGHT, ParameterSlice

Fill: TypeAlias = Callable[[Sequence[ParameterSlice]], None]
"""Fills slices with the values of one state, of which kinds they have."""


@dataclass
class MovingAverage:
    """The EMA of one rank's slices: 4 bytes a value, where the fp32 weights lie."""

    decay: float
    """d, between 0 and 1."""
    _values: list[Tensor] = field(default_factory=list)

    def begin(self, slices: Sequence[ParameterSlice]) -> None:
        """Begin at the weights as they are."""
        self._values = [one.values[WEIGHT].clone() for one in slices]

    @torch.no_grad()
    def update(self, slices: Sequence[ParameterSlice]) -> None:
        """Move towards the weights of an update that was applied."""
        for value, one in zip(self._values, slices, strict=True):
            value.lerp_(one.values[WEIGHT], 1 - self.decay)

    def beside(self, slices: Sequence[ParameterSlice]) -> list[ParameterSlice]:
        """The slices with the average of each among its values, in place."""
        pairs = zip(slices, self._values, strict=True)
        return [replace(one, values={**one.values, EMA: value}) for one, value in pairs]


@torch.no_grad()
def take_average(slices: Sequence[ParameterSlice]) -> None:
    """Put the EMA in the place of the weights."""
    for one in slices:
        one.values[WEIGHT].copy_(one.values[EMA])


@torch.no_grad()
def take_mean(slices: Sequence[ParameterSlice], before: Iterable[Fill]) -> None:
    """Put the mean of the weights and of those of earlier states, which fill slices, in the place of the weights.

    Two more fp32 copies of the slices are held meanwhile; the moments are left as they are.
    """
    read = [ParameterSlice(one.name, one.start, {WEIGHT: torch.empty_like(one.values[WEIGHT])}) for one in slices]
    sums = [torch.zeros_like(one.values[WEIGHT]) for one in slices]
    num_states = 1
    for fill in before:
        fill(read)
        num_states += 1
        for total, one in zip(sums, read, strict=True):
            total.add_(one.values[WEIGHT])
    for total, one in zip(sums, slices, strict=True):
        one.values[WEIGHT].copy_(total.add_(one.values[WEIGHT]).div_(num_states))
