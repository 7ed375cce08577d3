"""How the rows of one optimizer step are dealt out to ranks and micro-batches.

Owns the arithmetic between the recipe (rows in a step) and the site (ranks, rows in a forward pass). Every split of
a step holds the same rows; only who computes them differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.contract import GangLayout, StageError


@dataclass(frozen=True)
class Split:
    """The share of one rank in every step."""

    rank: int
    micro_rows: int
    """Rows in one forward pass."""
    num_micro_batches: int
    """Forward passes of one rank in one optimizer step."""

    @classmethod
    def of(cls, rows_per_step: int, layout: GangLayout, rank: int, world_size: int) -> Split:
        """The split of `rows_per_step` rows. Raises `StageError` where the layout cannot carry them evenly."""
        rows_at_once = world_size * layout.micro_rows
        if rows_per_step % rows_at_once:
            raise StageError(
                f"rows_per_step = {rows_per_step} of the recipe is no multiple of {world_size} ranks x "
                f"{layout.micro_rows} rows in a forward pass = {rows_at_once}; change num_ranks or micro_rows of the "
                "site, so that every layout sees the same steps"
            )
        return cls(rank, layout.micro_rows, rows_per_step // rows_at_once)

    def of_step(self, rows: Sequence[int]) -> list[list[int]]:
        """The rows of this rank, one list for each forward pass."""
        first = self.rank * self.num_micro_batches * self.micro_rows
        starts = range(first, first + self.num_micro_batches * self.micro_rows, self.micro_rows)
        return [list(rows[start : start + self.micro_rows]) for start in starts]
