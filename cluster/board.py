"""The board of a run: one Ray actor through which the driver and all workers exchange messages.

Owns the queue of events that the driver collects, the stop request, and the failures of ranks in the order in which
they were reported. It decides nothing, and nothing committed depends on it: losing the board loses only messages.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

from cluster.failure import Failure
from cluster.machines.shared_demand import Demand, SharedDemand
from cluster.progress import machine_progress
from cluster.session import draining_nodes, on_this_machine
from stages.contract import Event, PartProgress, PartRecorded, PhaseOpened, WarningPosted

if TYPE_CHECKING:
    from ray.actor import ActorHandle

STOP_POLL_SECONDS = 0.5
"""How often one process polls the board for a stop request."""
FLUSH_SECONDS = 10.0
"""Longest wait for the board to receive what a process posted; after that its last events are lost."""
PATIENCE_SECONDS = 60.0
"""How long a board that Ray cannot reach for the moment, such as on a busy machine, is asked again."""
PAUSE_SECONDS = 0.5
"""Pause before it is asked again."""


class Board:
    """The actor itself. Ray serves the calls of one process in the order in which they were made."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._num_taken = 0  # events that the driver has taken, and that are not kept any more
        self._recorded_parts: defaultdict[str, set[str]] = defaultdict(set)
        self._stop_requested = False
        self._cancelled_phases: set[str] = set()
        self._nodes_left_out: dict[str, frozenset[str]] = {}
        self._demands: dict[str, Demand] = {}
        self._shared_demand = SharedDemand()
        self._running_parts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._failures: defaultdict[str, list[Failure]] = defaultdict(list)
        self._nodes_of_gang: defaultdict[str, list[str]] = defaultdict(list)
        self._dissolved_gangs: set[str] = set()
        self._checkpoint_seconds: dict[str, float] = {}

    def post(self, event: Event) -> None:
        """Queue an event for the driver."""
        if isinstance(event, PhaseOpened):
            self._recorded_parts[event.step] = set()
        elif isinstance(event, PartRecorded):
            self._recorded_parts[event.step].add(event.part)
        self._events.append(event)

    def post_all(self, progress: Sequence[PartProgress]) -> None:
        """Queue the progress of parts, except of those that were recorded while their machine gathered it."""
        self._events += [one for one in progress if one.part not in self._recorded_parts[one.step]]

    def collect(self, num_taken: int) -> list[Event]:
        """The events after the first `num_taken` of the run, oldest first; those before are kept no longer.

        A call whose answer was lost may be made again: what it told is kept until the next call counts it as taken.
        """
        del self._events[: num_taken - self._num_taken]
        self._num_taken = num_taken
        return list(self._events)

    def request_stop(self) -> None:
        """Ask all parts and ranks of the run to stop at their next commit."""
        self._stop_requested = True

    def join(self, gang: str, node: str) -> None:
        """Record that a rank of this worker group (gang) has begun on this Ray node."""
        self._nodes_of_gang[gang].append(node)

    def num_joined(self, gang: str) -> int:
        """How many ranks of a gang have begun."""
        return len(self._nodes_of_gang[gang])

    def checkpoint_took(self, step: str, seconds: float) -> None:
        """Record how long the last checkpoint of a step took, from its first byte sent to its commit."""
        self._checkpoint_seconds[step] = seconds

    def stop_requested(self, gang: str = "", step: str = "") -> bool:
        """Whether the run is to stop, or this gang: Ray drains a machine of it, or a larger one can form."""
        return self._stop_requested or (bool(gang) and self._is_to_end(gang, step))

    def dissolve(self, gang: str, step: str, message: str) -> None:
        """Ask the ranks of a gang to commit at their next step and end, so that another gang can form."""
        if gang not in self._dissolved_gangs:
            self._dissolved_gangs.add(gang)
            self._events.append(WarningPosted(step=step, message=message))

    def is_dissolved(self, gang: str) -> bool:
        """Whether a gang was asked to end because another is to form."""
        return gang in self._dissolved_gangs

    def _is_to_end(self, gang: str, step: str) -> bool:
        if gang not in self._dissolved_gangs:
            going = draining_nodes()
            deadlines = [going[node] for node in self._nodes_of_gang[gang] if node in going]
            if deadlines:
                notice_seconds = min(deadlines) - time.time()
                self.dissolve(gang, step, drain_message(notice_seconds, self._checkpoint_seconds.get(step)))
        return gang in self._dissolved_gangs

    def may_begin(self, phase: str, task: str, node: str) -> bool:
        """Whether this task, submitted for a part of this phase, may begin its work on this Ray node."""
        if self._stop_requested or phase in self._cancelled_phases:
            return False
        if node in self._nodes_left_out.get(phase, frozenset()):
            return False
        self._running_parts[phase][task] = node
        return True

    def part_ended(self, phase: str, task: str) -> str:
        """Record that a task which had begun is over; returns the node that it ran on, or '' if it had not begun."""
        return self._running_parts[phase].pop(task, "")

    def num_running(self, phase: str) -> int:
        """Parts of this phase that have begun and not ended."""
        return len(self._running_parts[phase])

    def leave_out(self, phase: str, nodes: frozenset[str]) -> None:
        """Let parts of this phase begin on every Ray node but these."""
        self._nodes_left_out[phase] = nodes

    def cancel_phase(self, phase: str) -> frozenset[str]:
        """Let no further part of this phase begin; returns the tasks of those that run, which continue to their end."""
        self._cancelled_phases.add(phase)
        return frozenset(self._running_parts[phase])

    def demand(self, phase: str, bundle: Mapping[str, float], number: int) -> None:
        """Ask the autoscaler for room for this many parts of a phase, beside what other phases and runs ask for."""
        self._demands[phase] = (bundle, number)
        self._shared_demand.state(list(self._demands.values()))

    def refresh_demands(self) -> None:
        """Let the autoscaler forget what runs that were killed had asked for."""
        self._shared_demand.refresh()

    def withdraw_demands(self) -> None:
        """Ask the autoscaler for nothing any more, if it was asked; what other runs ask for stays."""
        if any(number for _, number in self._demands.values()):
            self._demands.clear()
            self._shared_demand.state([])

    def report_failure(self, gang: str, failure: Failure) -> None:
        """Record why a rank of a gang failed."""
        self._failures[gang].append(failure)

    def failures(self, gang: str) -> list[Failure]:
        """Failures that the ranks of a gang reported, the first one first: it is the cause of the others."""
        return self._failures[gang]


def drain_message(notice_seconds: float, checkpoint_seconds: float | None) -> str:
    """What people are told when a machine of a gang is drained. `checkpoint_seconds` is None before the first one."""
    when = "" if math.isinf(notice_seconds) else f" in {max(0.0, notice_seconds):.0f} s"
    message = f"a machine is about to be taken away{when}: training commits at its next step and goes on on others"
    if checkpoint_seconds is None or checkpoint_seconds < notice_seconds:
        return message
    return (
        f"{message}; but the last checkpoint took {checkpoint_seconds:.0f} s, longer than this notice, so steps may "
        "have to be done again. Checkpoint more often, or lengthen the notice where the provider gives one: "
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S in the environment of each machine's Ray"
    )


@contextmanager
def open_board() -> Iterator[ActorHandle]:
    """A board for the time of one run, on the driver's machine: it is lost only together with the driver."""
    board = ray.remote(num_cpus=0, scheduling_strategy=on_this_machine())(Board).remote()
    try:
        yield board
    finally:
        with suppress(RayError):
            ray.get(board.withdraw_demands.remote(), timeout=FLUSH_SECONDS)
        ray.kill(board)


def answered(ask: Callable[[], Any]) -> Any:
    """The board's answer to a call that may be made twice. `ask` makes it and returns its reference.

    Raises `RayError` where the board is lost, or cannot be reached for `PATIENCE_SECONDS`.
    """
    until_seconds = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ray.get(ask())
        except ActorUnavailableError:  # the call may have been carried out, and its answer lost
            if time.monotonic() >= until_seconds:
                raise
            time.sleep(PAUSE_SECONDS)


class EventInbox:
    """The driver's end of the board: each event is taken once, also where Ray loses an answer."""

    def __init__(self, board: ActorHandle) -> None:
        self._board = board
        self._num_taken = 0

    def take(self) -> list[Event]:
        """The events that were posted since the last call, oldest first."""
        events: list[Event] = answered(lambda: self._board.collect.remote(self._num_taken))
        self._num_taken += len(events)
        return events


@dataclass(frozen=True)
class BoardPost:
    """Posts an event without waiting for an answer. Never raises; pickles, so that it travels to workers.

    Progress of parts is posted for a whole machine, once a second (`progress.py`).
    """

    board: ActorHandle

    def __call__(self, event: Event) -> None:
        with suppress(Exception):
            if isinstance(event, PartProgress):
                machine_progress(self.board).note(event)
                return
            self.board.post.options(num_returns=0).remote(event)


@dataclass(frozen=True)
class CheckpointTime:
    """Tells the board how long a checkpoint of a step took, in seconds. Never raises, and waits for no answer."""

    board: ActorHandle
    step: str

    def __call__(self, seconds: float) -> None:
        with suppress(Exception):
            self.board.checkpoint_took.options(num_returns=0).remote(self.step, seconds)


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
