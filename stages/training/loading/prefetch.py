"""Micro-batches that are loaded before the step that wants them: in order, by a thread or by worker processes.

Owns how far the loading runs ahead, and with that how much memory waits: what is loaded and not yet taken is two steps
and one micro-batch for each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Final

from stages.training.loading.micro_batches import MicroBatch
from stages.training.loading.workers import Ask, Loading, Processes, Thread

STEPS_AHEAD: Final = 2
"""Steps that are loaded before they are wanted."""


@dataclass
class Prefetcher:
    """The micro-batches of one step after the other.

    Where loading one failed, `next` raises what was met, and the next `next` starts to load again from there.
    """

    start: Callable[[], Thread | Processes]
    """Brings up who loads."""
    steps: range
    num_micro_batches: int
    num_ahead: int
    """Micro-batches that are asked for at a time."""
    _taken: list[MicroBatch] = field(default_factory=list)
    """Micro-batches already taken for the step that is waited for."""
    _hands: Thread | Processes | None = None

    def __post_init__(self) -> None:
        self._waiting = iter(self.steps)
        self._step = next(self._waiting, None)
        self._begin()

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        return self

    def __next__(self) -> list[MicroBatch]:
        if self._step is None:
            raise StopIteration
        if self._hands is None:
            self._begin()
        while len(self._taken) < self.num_micro_batches:
            self._take((self._step, len(self._taken)))
        whole, self._taken = self._taken, []
        self._step = next(self._waiting, None)
        return whole

    def close(self) -> None:
        """Stop loading; what is under way is cancelled."""
        if self._hands is not None:
            self._hands.close()
        self._hands = None

    def _begin(self) -> None:
        """Ask for what comes next, from what is waited for on."""
        self._hands = self.start()
        left = range(self.steps.stop if self._step is None else self._step, self.steps.stop)
        self._asks = islice(product(left, range(self.num_micro_batches)), len(self._taken), None)
        self._ask_for(self.num_ahead)

    def _take(self, ask: Ask) -> None:
        assert self._hands is not None, "they are brought up before anything is taken"
        try:
            self._taken.append(self._hands.take(ask))
        except Exception:
            self.close()
            raise
        self._ask_for(1)

    def _ask_for(self, number: int) -> None:
        assert self._hands is not None, "they are brought up before anything is asked for"
        for ask in islice(self._asks, number):
            self._hands.ask(ask)


@contextmanager
def prefetch(
    loading: Loading, steps: range, num_micro_batches: int, num_workers: int, notice: Callable[[str], None]
) -> Iterator[Prefetcher]:
    """The loaded steps in order, some of them before they are asked for: by a thread, or by worker processes.

    `notice` is called with each warning. Leaving the context early stops loading.
    """

    def start() -> Thread | Processes:
        return Processes(loading, num_workers, notice) if num_workers else Thread(loading)

    loaded = Prefetcher(start, steps, num_micro_batches, STEPS_AHEAD * num_micro_batches + max(1, num_workers))
    try:
        yield loaded
    finally:
        loaded.close()
