"""Which rows an optimizer step takes: a pure function of the step, for any number of ranks.

Owns the order of training data. Each epoch is a permutation of all rows, or of groups of rows that were packed to stay
together, keyed by (seed, epoch), and a step is a fixed slice of the epochs laid end to end. What a checkpoint has seen
is therefore computed, never logged; resuming needs a step number, not a replay; and lineage asks the other way round,
which steps took a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from stages.formats.permutation import Shuffle

if TYPE_CHECKING:
    from stages.formats.packed_rows.rows import RowReader
    from stages.formats.permutation import Whole


@dataclass(frozen=True)
class Span:
    """Consecutive steps that read one Rows artifact."""

    rows: int
    """Which of the artifacts, counted from 0."""
    first_step: int
    until_step: int
    """The first step that no longer reads it."""
    first_row: int = 0
    """Place of the first row that it reads, in the epochs laid end to end."""


def spans(num_steps: int, until_steps: Sequence[int]) -> tuple[Span, ...]:
    """Which steps read which Rows artifact: the i-th until `until_steps[i]`, the last until `num_steps`.

    >>> spans(100, (60,))
    (Span(rows=0, first_step=0, until_step=60), Span(rows=1, first_step=60, until_step=100))
    """
    edges = [0, *until_steps, num_steps]
    return tuple(Span(rows, first, until) for rows, (first, until) in enumerate(pairwise(edges)))


def span_of_step(step: int, among: Sequence[Span]) -> Span:
    """The span that holds a step. Raises IndexError outside all of them."""
    for span in among:
        if span.first_step <= step < span.until_step:
            return span
    raise IndexError(f"step {step} is outside 0..{among[-1].until_step - 1}")


@dataclass(frozen=True, kw_only=True)
class RowOrder:
    """The order in which training reads the rows of one artifact. Steps count from 0 at the first that reads them."""

    num_rows: int
    """Rows of the artifact."""
    rows_per_step: int
    """Rows that one optimizer step takes, on all ranks."""
    seed: int
    """Seed of the training."""
    first_row: int = 0
    """Place of the first row of step 0, in the epochs laid end to end: rows before it were read before a fork."""
    rows_together: int = 1
    """Consecutive rows that stay together: groups of so many are permuted. Rows that fill no group come last."""

    def __post_init__(self) -> None:
        if min(self.num_rows, self.rows_per_step, self.rows_together) < 1:
            raise ValueError(
                f"num_rows = {self.num_rows}, rows_per_step = {self.rows_per_step} and rows_together = "
                f"{self.rows_together} must be positive"
            )

    @classmethod
    def of(cls, reader: RowReader, *, rows_per_step: int, seed: int, first_row: int = 0) -> RowOrder:
        """The order in which a training of this seed reads these rows, from place `first_row` on."""
        return cls(
            num_rows=reader.num_rows,
            rows_per_step=rows_per_step,
            seed=seed,
            first_row=first_row,
            rows_together=reader.rows_together,
        )

    def rows_of_step(self, step: int) -> list[int]:
        """The rows of one optimizer step, in order."""
        found: list[int] = []
        first = self.first_row + step * self.rows_per_step
        until = first + self.rows_per_step
        for epoch in range(first // self.num_rows, (until - 1) // self.num_rows + 1):
            begins = epoch * self.num_rows
            places = range(max(first - begins, 0), min(until - begins, self.num_rows))
            found += self._items(epoch, _whole(places)).tolist()
        return found

    def steps_of_row(self, row: int, num_steps: int) -> Iterator[int]:
        """The steps before `num_steps` that take `row`, in order: one at most in each epoch that was reached."""
        for _, steps in self.steps_of_rows(_whole([row]), num_steps):
            yield from steps.tolist()

    def steps_of_rows(self, rows: Whole, num_steps: int) -> Iterator[tuple[Whole, Whole]]:
        """The steps before `num_steps` that take any of `rows` [N]: for each epoch that was reached, which of them
        (numbers below N) were taken in it, and the step that took each.
        """
        import numpy as np

        until = self.first_row + num_steps * self.rows_per_step
        for epoch in range(self.first_row // self.num_rows, -(-until // self.num_rows)):
            positions = epoch * self.num_rows + self._places(epoch, rows)
            taken = np.flatnonzero((self.first_row <= positions) & (positions < until))
            yield taken, (positions[taken] - self.first_row) // self.rows_per_step

    def times_taken(self, num_steps: int) -> Whole:
        """How often each row is taken in the first `num_steps` steps that read these rows."""
        return self._times(self.first_row + num_steps * self.rows_per_step) - self._times(self.first_row)

    def _times(self, num_taken: int) -> Whole:
        """How often each row is among the first `num_taken` of the epochs laid end to end."""
        import numpy as np

        num_epochs, num_more = divmod(num_taken, self.num_rows)
        times = np.full(self.num_rows, num_epochs, np.int64)
        times[self._items(num_epochs, np.arange(num_more))] += 1
        return times

    @property
    def _num_in_groups(self) -> int:
        return self.num_rows // self.rows_together * self.rows_together

    def _items(self, epoch: int, places: Whole) -> Whole:
        """The rows at these places of an epoch.

        Of 7 rows in groups of 2, with the groups in the order 2 0 1, the places 0 to 6 hold the rows 4 5 0 1 2 3 6.
        """
        import numpy as np

        if self.rows_together == 1:
            return self._shuffle(epoch).items(places)
        rows = places.copy()
        grouped = places < self._num_in_groups
        groups, within = np.divmod(places[grouped], self.rows_together)
        rows[grouped] = self._shuffle(epoch).items(groups) * self.rows_together + within
        return rows

    def _places(self, epoch: int, rows: Whole) -> Whole:
        """The place of each of these rows in an epoch: the inverse of `_items`."""
        import numpy as np

        if self.rows_together == 1:
            return self._shuffle(epoch).places(rows)
        places = rows.copy()
        grouped = rows < self._num_in_groups
        groups, within = np.divmod(rows[grouped], self.rows_together)
        places[grouped] = self._shuffle(epoch).places(groups) * self.rows_together + within
        return places

    def _shuffle(self, epoch: int) -> Shuffle:
        """The permutation of the groups; a key of its own for each epoch. An artifact of less than a group has one."""
        return Shuffle(max(1, self.num_rows // self.rows_together), f"rows/{self.seed}/{epoch}")


def _whole(numbers: Sequence[int]) -> Whole:
    import numpy as np

    return np.asarray(numbers, np.int64)
