"""The notice board of a run: one Ray actor that every part and rank can reach.

It takes events for the driver to collect, holds the word that the run is to stop, and keeps the failures of ranks in
the order they happened. It decides nothing and keeps nothing that is not lost without harm.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from cluster.failure import Failure
from cluster.session import draining_nodes, on_this_machine
from stages.contract import Event, WarningPosted

if TYPE_CHECKING:
    from ray.actor import ActorHandle

SECONDS_BETWEEN_QUESTIONS = 0.5
"""How often one process asks the board anew whether the run is to stop."""
DELIVERY_SECONDS = 10.0


class Board:
    """The actor itself. Calls of one process are served in their order."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._stop_asked = False
        self._abandoned: set[str] = set()
        self._failures: defaultdict[str, list[Failure]] = defaultdict(list)
        self._machines: defaultdict[str, set[str]] = defaultdict(set)
        self._leaving: set[str] = set()

    def post(self, event: Event) -> None:
        self._events.append(event)

    def collect(self) -> list[Event]:
        """The events that came since the last call."""
        events, self._events = self._events, []
        return events

    def ask_stop(self) -> None:
        self._stop_asked = True

    def join(self, gang: str, node: str) -> None:
        """A rank of a gang runs on this Ray node."""
        self._machines[gang].add(node)

    def stop_asked(self, gang: str = "", step: str = "") -> bool:
        """Whether the run is to stop, or a machine of this gang is about to be taken away."""
        return self._stop_asked or (bool(gang) and self._is_leaving(gang, step))

    def _is_leaving(self, gang: str, step: str) -> bool:
        if gang not in self._leaving and self._machines[gang] & draining_nodes():
            self._leaving.add(gang)
            said = "a machine is about to be taken away: training commits at the next step and stops"
            self._events.append(WarningPosted(step=step, message=said))
        return gang in self._leaving

    def abandon(self, phase: str) -> None:
        """Let no further part of this phase begin."""
        self._abandoned.add(phase)

    def goes_on(self, phase: str) -> bool:
        """Whether a part of this phase that was handed out may still begin."""
        return not self._stop_asked and phase not in self._abandoned

    def pin_failure(self, gang: str, failure: Failure) -> None:
        self._failures[gang].append(failure)

    def failures(self, gang: str) -> list[Failure]:
        """Failures of a gang's ranks, the first to happen first."""
        return self._failures[gang]


@contextmanager
def open_board() -> Iterator[ActorHandle]:
    """A board for the time of one run, lost only with the driver."""
    board = ray.remote(num_cpus=0, scheduling_strategy=on_this_machine())(Board).remote()
    try:
        yield board
    finally:
        ray.kill(board)


@dataclass(frozen=True)
class BoardPost:
    """Posts an event and forgets it: never waits, never raises, and pickles."""

    board: ActorHandle

    def __call__(self, event: Event) -> None:
        with suppress(Exception):
            self.board.post.options(num_returns=0).remote(event)


def deliver(board: ActorHandle) -> None:
    """Wait until what this process has posted lies on the board, or for a while."""
    with suppress(RayError):
        ray.get(board.stop_asked.remote(), timeout=DELIVERY_SECONDS)


class StopWatch:
    """Whether the run is to stop, as far as is known: asks the board now and then and never waits for its answer.

    For a gang, also whether one of its machines is about to be taken away.
    """

    def __init__(self, board: ActorHandle, gang: str = "", step: str = "") -> None:
        self._board = board
        self._gang, self._step = gang, step
        self._question: Any = None
        self._ask_again_at_seconds = 0.0
        self._stopped = False

    def __call__(self) -> bool:
        if self._question is not None and ray.wait([self._question], timeout=0)[0]:
            with suppress(RayError):
                self._stopped = ray.get(self._question)
            self._question = None
        now_seconds = time.monotonic()
        if not self._stopped and self._question is None and now_seconds >= self._ask_again_at_seconds:
            self._question = self._board.stop_asked.remote(self._gang, self._step)
            self._ask_again_at_seconds = now_seconds + SECONDS_BETWEEN_QUESTIONS
        return self._stopped
