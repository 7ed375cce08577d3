"""Which rows an optimizer step takes: a pure function of the step, for any number of ranks.

Owns the order of training data. Each epoch is a permutation of all rows, keyed by (seed, epoch), and a step is a
fixed slice of the epochs laid end to end. What a checkpoint has seen is therefore computed, never logged; resuming
needs a step number, not a replay; and lineage asks the other way round, which steps took a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from stages.formats.permutation import Shuffle

if TYPE_CHECKING:
    from stages.formats.permutation import Whole


@dataclass(frozen=True)
class Span:
    """Consecutive steps that read one Rows artifact."""

    rows: int
    """Which of the artifacts, counted from 0."""
    first_step: int
    until_step: int
    """The first step that no longer reads it."""


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


def rows_of_step(step: int, *, num_rows: int, rows_per_step: int, seed: int) -> list[int]:
    """The rows of one optimizer step, in order; `step` counts from 0 at the first that reads these rows."""
    _check(num_rows, rows_per_step)
    found: list[int] = []
    first, until = step * rows_per_step, (step + 1) * rows_per_step
    for epoch in range(first // num_rows, (until - 1) // num_rows + 1):
        places = range(max(first - epoch * num_rows, 0), min(until - epoch * num_rows, num_rows))
        found += _epoch(num_rows, seed, epoch).items(_whole(places)).tolist()
    return found


def steps_of_row(row: int, *, num_rows: int, rows_per_step: int, seed: int, num_steps: int) -> Iterator[int]:
    """The steps before `num_steps` that take `row`, in order: one in each epoch that was reached."""
    _check(num_rows, rows_per_step)
    num_taken = num_steps * rows_per_step
    for epoch in range(-(-num_taken // num_rows)):
        position = epoch * num_rows + int(_epoch(num_rows, seed, epoch).places(_whole([row]))[0])
        if position < num_taken:
            yield position // rows_per_step


def times_taken(num_steps: int, *, num_rows: int, rows_per_step: int, seed: int) -> Whole:
    """How often each row is taken in the first `num_steps` steps that read these rows."""
    import numpy as np

    _check(num_rows, rows_per_step)
    num_epochs, num_more = divmod(num_steps * rows_per_step, num_rows)
    times = np.full(num_rows, num_epochs, np.int64)
    times[_epoch(num_rows, seed, num_epochs).items(np.arange(num_more))] += 1
    return times


def _epoch(num_rows: int, seed: int, epoch: int) -> Shuffle:
    return Shuffle(num_rows, f"rows/{seed}/{epoch}")


def _whole(numbers: Sequence[int]) -> Whole:
    import numpy as np

    return np.asarray(numbers, np.int64)


def _check(num_rows: int, rows_per_step: int) -> None:
    if num_rows < 1 or rows_per_step < 1:
        raise ValueError(f"num_rows = {num_rows} and rows_per_step = {rows_per_step} must be positive")
