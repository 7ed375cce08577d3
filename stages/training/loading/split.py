"""How the rows of one optimizer step are split over ranks and micro-batches.

Owns the arithmetic between the recipe (rows in a step) and the site (ranks, rows in a forward pass). Every split of
a step holds the same rows; only who computes them differs. Ranks wait for one another in each forward pass, so rows
that cost alike go through together, and of these each rank takes what makes the sums even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.contract import GangLayout, StageError


@dataclass(frozen=True)
class RowSplit:
    """The share of one rank in every step."""

    rank: int
    world_size: int
    micro_rows: int
    """Rows in one forward pass."""
    num_micro_batches: int
    """Forward passes of one rank in one optimizer step."""

    @classmethod
    def of(cls, rows_per_step: int, layout: GangLayout, rank: int, world_size: int) -> RowSplit:
        """The split of `rows_per_step` rows. Raises `StageError` where the layout cannot carry them evenly."""
        rows_at_once = world_size * layout.micro_rows
        if rows_per_step % rows_at_once:
            raise StageError(
                f"rows_per_step = {rows_per_step} of the recipe is no multiple of {world_size} ranks x "
                f"{layout.micro_rows} rows in a forward pass = {rows_at_once}; change num_ranks or micro_rows of the "
                "site, so that every layout sees the same steps"
            )
        return cls(rank, world_size, layout.micro_rows, rows_per_step // rows_at_once)

    def of_step(self, costs: Sequence[float]) -> list[list[int]]:
        """Which of a step's rows, whose costs are given, this rank computes: a list for each forward pass."""
        return [by_rank[self.rank] for by_rank in self._passes(costs)]

    def imbalance(self, costs: Sequence[float]) -> float:
        """How much longer the slowest ranks take than all would if they cost alike, as a fraction."""
        slowest = sum(max(sum(costs[row] for row in mine) for mine in by_rank) for by_rank in self._passes(costs))
        return slowest * self.world_size / sum(costs) - 1.0

    def _passes(self, costs: Sequence[float]) -> list[list[list[int]]]:
        """For each forward pass the rows of each rank, in the order of the step."""
        dearest_first = sorted(range(len(costs)), key=lambda row: (-costs[row], row))
        rows_at_once = self.world_size * self.micro_rows
        starts = range(0, len(costs), rows_at_once)
        return [self._assign(dearest_first[start : start + rows_at_once], costs) for start in starts]

    def _assign(self, rows: Sequence[int], costs: Sequence[float]) -> list[list[int]]:
        """Each row, the dearest first, to the rank with the least so far that still has room."""
        shares: list[list[int]] = [[] for _ in range(self.world_size)]
        sums = [0.0] * self.world_size
        for row in rows:
            rank = min(
                (rank for rank in range(self.world_size) if len(shares[rank]) < self.micro_rows),
                key=lambda rank: (sums[rank], rank),
            )
            shares[rank].append(row)
            sums[rank] += costs[row]
        return [sorted(share) for share in shares]
