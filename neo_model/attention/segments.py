"""Ragged runs of tokens laid end to end, and their padded groups of similar length.

Owns `Segments`: what a variable-length kernel needs to know about documents or images. A kernel for ragged input
reads `starts` and `longest`; a kernel for rectangular input reads `groups`.

T tokens in S segments; a group has B segments padded to its longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_PADDING: Final = 0.25
"""Largest share of a group's cells that is padding. Less padding means more and smaller kernel calls."""


@dataclass(frozen=True, eq=False)
class Group:
    """Segments padded into a rectangle [B, length]."""

    size: tuple[int, int]
    """Segments of the group, and the length of its longest: (B, length)."""
    rows: Tensor
    """[B * length] token of each cell; a padding cell repeats the segment's last token."""
    cells: Tensor
    """[t] cell of each of the group's t tokens, in the order of `tokens`."""
    tokens: Tensor
    """[t] tokens of this group."""


@dataclass(frozen=True, eq=False)
class Segments:
    """S runs of tokens, end to end."""

    lengths: NDArray[np.int64]
    """[S] tokens of each segment, all positive."""
    device: torch.device

    @cached_property
    def starts(self) -> Tensor:
        """[S+1] int32 cumulative starts, on the device."""
        starts = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int32)
        return torch.from_numpy(starts).to(self.device, non_blocking=True)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest segment; 0 if there is none."""
        return int(self.lengths.max(initial=0))

    @cached_property
    def groups(self) -> list[Group]:
        """All segments, each in one group, with segments of similar length together."""
        order = np.argsort(self.lengths, kind="stable")
        starts = np.cumsum(self.lengths) - self.lengths
        return [self._group(starts[members], self.lengths[members]) for members in _similar_runs(self.lengths, order)]

    def _group(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Group:
        longest = int(lengths.max())
        offsets = np.arange(longest)
        rows = starts[:, None] + np.minimum(offsets[None, :], lengths[:, None] - 1)
        cells = np.flatnonzero((offsets[None, :] < lengths[:, None]).ravel())
        flat = rows.ravel()
        as_tensor = (torch.from_numpy(part).to(self.device, non_blocking=True) for part in (flat, cells, flat[cells]))
        return Group((len(lengths), longest), *as_tensor)


def _similar_runs(lengths: NDArray[np.int64], order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut segment numbers, sorted by length, into runs of at most MAX_PADDING padding, the longest segments first.

    Lengths 2 7 8: 8 and 7 fill 15 of 16 cells; with 2 it would be 17 of 24, below 3/4. So [7, 8], then [2].
    """
    runs: list[NDArray[np.int64]] = []
    end = len(order)
    while end > 0:
        longest = lengths[order[end - 1]]
        totals = np.cumsum(lengths[order[:end]][::-1])
        fits = totals >= (1 - MAX_PADDING) * longest * np.arange(1, end + 1)
        begin = end - (int(np.argmin(fits)) if not fits.all() else end)
        runs.append(order[begin:end])
        end = begin
    return runs
