"""How the rows of one optimizer step are split over ranks and micro-batches.

Owns the arithmetic between the recipe (rows in a step) and the site (ranks, rows in a forward pass). Every split of
a step holds the same rows; only who computes them differs.

Any number of ranks carries any number of rows. What is missing to full passes of all ranks are rows of nothing: they
cost 0, so they go where there is least to do, and a rank that has nothing else in a pass computes a micro-batch of
weight 0. In p passes less than 1 / p of the places are empty: 1,024 rows on 120 ranks take 9 passes, of whose 1,080
places 56 are empty.

Under ZeRO 2 and 3 ranks wait for one another in each pass, where gradients or parameters are exchanged: rows that cost
alike go through together, and of these each rank takes what makes the sums even. Under ZeRO 0 and 1 they wait once a
step: each rank takes of all rows what makes the sums of the step even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import product
from typing import Final

from stages.contract import GangLayout
from stages.training.loading.sequence_place import SequencePlace

PARTITIONS_GRADIENTS: Final = 2
"""First ZeRO stage in which ranks exchange gradients in each pass, and not once a step."""
MOST_EXCHANGES: Final = 200
"""Exchanges of rows that are tried to even out a step; each costs well below a millisecond."""
NUM_RANKS_TRIED: Final = 8
"""Ranks that the longest one exchanges rows with: those that take least."""
EVEN_ENOUGH: Final = 1e-3
"""Imbalance at which no further exchange is tried."""
MUCH_IDLE: Final = 0.1
"""Share of empty places from which on people are warned."""


@dataclass(frozen=True)
class RowSplit:
    """The share of one rank in every step."""

    rank: int
    world_size: int
    micro_rows: int
    """Most rows in one forward pass."""
    rows_per_step: int
    """Rows that all ranks have in one optimizer step."""
    waits_each_pass: bool = True
    """Whether ranks wait for one another in each pass, or once a step."""
    sequence_ranks: int = 1
    """Ranks that share each row. `rank` and `world_size` count groups of so many."""

    @classmethod
    def of(cls, rows_per_step: int, layout: GangLayout, rank: int, world_size: int) -> RowSplit:
        """The split of `rows_per_step` rows. Ranks that share rows count as one."""
        place = SequencePlace.of(layout, rank, world_size)
        waits_each_pass = layout.zero_stage >= PARTITIONS_GRADIENTS
        return cls(
            *(place.group, place.num_groups, layout.micro_rows, rows_per_step),
            waits_each_pass=waits_each_pass,
            sequence_ranks=layout.sequence_ranks,
        )

    @property
    def num_micro_batches(self) -> int:
        """Forward passes of one rank in one optimizer step, of which the last may be of nothing."""
        return -(-self.rows_per_step // (self.world_size * self.micro_rows))

    @property
    def idle_share(self) -> float:
        """Share of the places for rows, over all ranks and passes, that stay empty."""
        return 1.0 - self.rows_per_step / self._num_places

    @property
    def idle_words(self) -> str:
        """How many places stay empty and what would leave fewer; '' where it is not worth a word."""
        if self.idle_share <= MUCH_IDLE:
            return ""
        return (
            f"the {self.rows_per_step} rows of a step leave {self.idle_share:.0%} of the places empty that "
            f"{self._ranks()} x {self.micro_rows} rows x {self.num_micro_batches} passes have; {self._better()}"
        )

    def of_step(self, costs: Sequence[float]) -> list[list[int]]:
        """Which of a step's rows, whose costs are given, this rank computes: a list for each forward pass."""
        mine = [by_rank[self.rank] for by_rank in self._exchanges(costs)]
        if self.waits_each_pass:
            return [sorted(rows) for rows in mine]
        (rows,) = mine
        dearest_first = sorted(rows, key=lambda row: (-costs[row], row))
        starts = range(0, self.num_micro_batches * self.micro_rows, self.micro_rows)
        return [sorted(dearest_first[start : start + self.micro_rows]) for start in starts]

    def imbalance(self, costs: Sequence[float]) -> float:
        """How much longer the slowest ranks take than all would if they cost alike, as a fraction."""
        slowest = sum(max(sum(costs[row] for row in mine) for mine in by_rank) for by_rank in self._exchanges(costs))
        return slowest * self.world_size / sum(costs) - 1.0

    @property
    def _num_places(self) -> int:
        return self.num_micro_batches * self.world_size * self.micro_rows

    def _ranks(self) -> str:
        groups = f"groups of {self.sequence_ranks} " if self.sequence_ranks > 1 else ""
        return f"{self.world_size} {groups}ranks"

    def _better(self) -> str:
        """What layout would leave fewer places empty."""
        fewest = -(-self.rows_per_step // (self.num_micro_batches * self.micro_rows))
        if fewest < self.world_size:
            return f"{fewest * self.sequence_ranks} ranks would take as many passes"
        return f"set {'fewer micro_rows' if self.micro_rows > 1 else 'a num_ranks that divides the rows'} in the site"

    def _exchanges(self, costs: Sequence[float]) -> list[list[list[int]]]:
        """For each time that ranks wait for one another, the rows of each rank before it."""
        with_nothing = [*costs, *[0.0] * (self._num_places - len(costs))]
        dearest_first = sorted(range(len(with_nothing)), key=lambda row: (-with_nothing[row], row))
        num_together = self.micro_rows * (1 if self.waits_each_pass else self.num_micro_batches)
        at_once = self.world_size * num_together
        by_exchange = [
            self._assign(dearest_first[start : start + at_once], with_nothing, num_together)
            for start in range(0, len(with_nothing), at_once)
        ]
        return [[[row for row in mine if row < len(costs)] for mine in by_rank] for by_rank in by_exchange]

    def _assign(self, rows: Sequence[int], costs: Sequence[float], num_each: int) -> list[list[int]]:
        """Each row, the dearest first, to the rank with the least so far that still has room, then `_even_out`."""
        shares: list[list[int]] = [[] for _ in range(self.world_size)]
        open_ranks = [(0.0, rank) for rank in range(self.world_size)]
        for row in rows:
            cost, rank = heappop(open_ranks)
            shares[rank].append(row)
            if len(shares[rank]) < num_each:
                heappush(open_ranks, (cost + costs[row], rank))
        return _even_out(shares, costs) if num_each > 1 else shares


def _even_out(shares: list[list[int]], costs: Sequence[float]) -> list[list[int]]:
    """Exchange rows between the rank that takes longest and another, while that makes the longest sum smaller.

    Sums of 9 (5 + 4) and 5 (3 + 2): the exchange of 5 and 3 makes them 7 (3 + 4) and 7 (5 + 2).
    """
    sums = [sum(costs[row] for row in share) for share in shares]
    even_enough = sum(sums) / len(sums) * (1 + EVEN_ENOUGH)
    for _ in range(MOST_EXCHANGES):
        longest = max(range(len(shares)), key=lambda rank: sums[rank])
        best = None if sums[longest] <= even_enough else _best_exchange(shares, sums, costs, longest)
        if best is None:
            break
        other, mine, theirs = best
        difference = costs[shares[longest][mine]] - costs[shares[other][theirs]]
        shares[longest][mine], shares[other][theirs] = shares[other][theirs], shares[longest][mine]
        sums[longest], sums[other] = sums[longest] - difference, sums[other] + difference
    return shares


def _best_exchange(
    shares: Sequence[Sequence[int]], sums: Sequence[float], costs: Sequence[float], longest: int
) -> tuple[int, int, int] | None:
    """The rank, the row of the longest share and the row of that rank's whose exchange makes the longer of the two sums
    least; None where none makes it smaller. The shortest ranks are tried alone."""
    least, best = sums[longest], None
    for other in sorted(range(len(shares)), key=lambda rank: sums[rank])[:NUM_RANKS_TRIED]:
        for mine, theirs in product(range(len(shares[longest])), range(len(shares[other]))):
            difference = costs[shares[longest][mine]] - costs[shares[other][theirs]]
            longer = max(sums[longest] - difference, sums[other] + difference)
            if longer < least:
                least, best = longer, (other, mine, theirs)
    return best
