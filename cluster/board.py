"""The board of a run: one Ray actor through which the driver and all workers exchange messages.

Owns the queue of events that the driver collects, the stop request, and the failures of ranks in the order in which
they were reported. It decides nothing, and nothing committed depends on it: losing the board loses only messages.
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

STOP_POLL_SECONDS = 0.5
"""How often one process polls the board for a stop request."""
FLUSH_SECONDS = 10.0
"""Longest wait for the board to receive what a process posted; after that its last events are lost."""


class Board:
    """The actor itself. Ray serves the calls of one process in the order in which they were made."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._stop_requested = False
        self._cancelled_phases: set[str] = set()
        self._failures: defaultdict[str, list[Failure]] = defaultdict(list)
        self._nodes_of_gang: defaultdict[str, set[str]] = defaultdict(set)
        self._draining_gangs: set[str] = set()

    def post(self, event: Event) -> None:
        """Queue an event for the driver."""
        self._events.append(event)

    def collect(self) -> list[Event]:
        """The events posted since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def request_stop(self) -> None:
        """Ask all parts and ranks of the run to stop at their next commit."""
        self._stop_requested = True

    def join(self, gang: str, node: str) -> None:
        """Record that a rank of this worker group (gang) runs on this Ray node."""
        self._nodes_of_gang[gang].add(node)

    def stop_requested(self, gang: str = "", step: str = "") -> bool:
        """Whether the run is to stop, or Ray drains a machine of this gang, as it does before a preemption."""
        return self._stop_requested or (bool(gang) and self._is_draining(gang, step))

    def _is_draining(self, gang: str, step: str) -> bool:
        if gang not in self._draining_gangs and self._nodes_of_gang[gang] & draining_nodes():
            self._draining_gangs.add(gang)
            message = "a machine is about to be taken away: training commits at the next step and stops"
            self._events.append(WarningPosted(step=step, message=message))
        return gang in self._draining_gangs

    def cancel_phase(self, phase: str) -> None:
        """Let no further part of this phase begin. Parts that run continue to their end."""
        self._cancelled_phases.add(phase)

    def may_begin(self, phase: str) -> bool:
        """Whether a submitted part of this phase may still begin."""
        return not self._stop_requested and phase not in self._cancelled_phases

    def report_failure(self, gang: str, failure: Failure) -> None:
        """Record why a rank of a gang failed."""
        self._failures[gang].append(failure)

    def failures(self, gang: str) -> list[Failure]:
        """Failures that the ranks of a gang reported, the first one first: it is the cause of the others."""
        return self._failures[gang]


@contextmanager
def open_board() -> Iterator[ActorHandle]:
    """A board for the time of one run, on the driver's machine: it is lost only together with the driver."""
    board = ray.remote(num_cpus=0, scheduling_strategy=on_this_machine())(Board).remote()
    try:
        yield board
    finally:
        ray.kill(board)


@dataclass(frozen=True)
class BoardPost:
    """Posts an event without waiting for an answer. Never raises; pickles, so that it travels to workers."""

    board: ActorHandle

    def __call__(self, event: Event) -> None:
        with suppress(Exception):
            self.board.post.options(num_returns=0).remote(event)


def flush(board: ActorHandle) -> None:
    """Wait until the board has received what this process posted, for at most `FLUSH_SECONDS`.

    Ray keeps the order of one caller's calls, so any call that is answered proves that the posts before it arrived.
    Without this, a worker that ends right after its last post may take that post with it.
    """
    with suppress(RayError):
        ray.get(board.stop_requested.remote(), timeout=FLUSH_SECONDS)


class StopPoll:
    """Whether the run is to stop, by the newest answer of the board. Polls without ever waiting for an answer.

    For a gang, also whether one of its machines is being drained.
    """

    def __init__(self, board: ActorHandle, gang: str = "", step: str = "") -> None:
        self._board = board
        self._gang, self._step = gang, step
        self._pending: Any = None
        self._poll_at_seconds = 0.0
        self._is_requested = False

    def __call__(self) -> bool:
        if self._pending is not None and ray.wait([self._pending], timeout=0)[0]:
            with suppress(RayError):
                self._is_requested = ray.get(self._pending)
            self._pending = None
        now_seconds = time.monotonic()
        if not self._is_requested and self._pending is None and now_seconds >= self._poll_at_seconds:
            self._pending = self._board.stop_requested.remote(self._gang, self._step)
            self._poll_at_seconds = now_seconds + STOP_POLL_SECONDS
        return self._is_requested
