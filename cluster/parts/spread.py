"""A map over parts: each part of a phase is a Ray task, submitted within the limits of the site.

Owns the course of a phase: which part is submitted next, what becomes of one that fails, and how the phase ends. Which
failures are tried again is for `retry_policy.py` to say, and what is said to Ray for `task_pool.py`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ray.exceptions import RayError

from cluster.failure import Failure
from cluster.parts.demand import PhaseDemand
from cluster.parts.nodes import NodeWatch
from cluster.parts.part_task import PartResult, TaskPayload
from cluster.parts.phase_end import PhaseEnd
from cluster.parts.phase_warnings import PhaseWarnings
from cluster.parts.retry_policy import RetryPolicy
from cluster.parts.task_pool import TaskPool, WorkerDeath
from cluster.parts.waiting import PartsWait
from cluster.site import PartResources
from stages.contract import Part, Post, StageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

POLL_SECONDS: Final = 0.5
"""Longest wait for a part to end before the stop request is looked at again."""
NUM_PARTS_QUEUED_AHEAD: Final = 2
"""Tasks submitted beyond what runs at once, so that a worker that ends finds the next part waiting."""
SECONDS_SINCE_DEATH: Final = 0.25
"""Age of what is known of the nodes when a worker died: did its machine go too?"""


class Spread:
    """The course of one phase that is to do these parts."""

    def __init__(
        self,
        payload: TaskPayload,
        parts: Sequence[Part],
        *,
        resources: PartResources,
        board: ActorHandle,
        post: Post,
        stop_asked: Callable[[], bool],
        grace_seconds: float = math.inf,
    ) -> None:
        """`grace_seconds` is how long parts that run may go on once the phase ends early; then they are given up."""
        self._payload = payload
        self._tasks = TaskPool(payload, resources, board)
        self._nodes = NodeWatch(resources)
        self._resources = resources
        self._board = board
        self._stop_asked = stop_asked
        self._waiting = deque(parts)
        self._again: deque[Part] = deque()
        """Parts that were tried, or refused by a node; submitted before the others."""
        self._policy = RetryPolicy(len(parts))
        self._left_out: frozenset[str] = frozenset()
        self._end = PhaseEnd(payload.step, payload.phase, resources, len(parts))
        self._is_ending = False
        """Whether no more parts begin: one failed too many, or the run is to stop."""
        self._grace_seconds = grace_seconds
        self._given_up_at_seconds = math.inf
        self._num_made = 0
        self._warnings = PhaseWarnings(payload.step, payload.phase, self._nodes, post)
        self._demand = PhaseDemand(payload.key, self._nodes, resources.max_parallel, board)
        self._wait = PartsWait(payload, self._nodes, board, post)

    def make(self, keep: Callable[[Part, Any], None]) -> None:
        """Do all parts, handing each with its outcome, of a step its record, to `keep` as it comes.

        When more parts fail than the site allows, no more begin, those that run continue to their end, and `StageError`
        is raised with the first one's name and cause. When the run is asked to stop, the same with
        `InterruptedRunError`.
        """
        try:
            while self._tasks or (not self._is_ending and (self._waiting or self._again)):
                if time.monotonic() > self._given_up_at_seconds:
                    self._tasks.give_up()
                    break
                self._go_on(keep)
        finally:
            self._demand.end()
            self._wait.end()
        self._warnings.sums(self._policy.faults)
        self._end.raise_unless_all_made(self._num_made)

    def _go_on(self, keep: Callable[[Part, Any], None]) -> None:
        """Look at the nodes and the stop request, submit what there is room for, and collect what ended."""
        self._nodes.look()
        self._tasks.recall_stranded(self._nodes)
        if not self._is_ending and self._stop_asked():
            self._end_early()
        if not self._is_ending:
            self._submit()
            num_left = self._end.num_parts - self._num_made - len(self._end.failures)
            self._demand.look(num_left, time.monotonic())
            impossible = self._wait.look(num_left) if self._tasks else None
            if impossible is not None:
                self._end_early(Failure.of(impossible, f"step {self._payload.step!r}"))
        if not self._tasks:  # the parts that are left wait for a pause to end
            time.sleep(POLL_SECONDS)
            return
        for part, result in self._tasks.ended(POLL_SECONDS):
            self._take(part, result, keep)
        self._leave_nodes_out()

    def _submit(self) -> None:
        bound = self._resources.max_parallel or self._nodes.num_at_once + NUM_PARTS_QUEUED_AHEAD
        now_seconds = time.monotonic()
        for queue in (self._again, self._waiting):
            for _ in range(len(queue)):
                if len(self._tasks) >= bound:
                    return
                part = queue.popleft()
                avoided = self._policy.nodes_to_avoid(part.name, self._nodes.able, now_seconds)
                if avoided is not None:
                    self._tasks.submit(part, avoided & self._nodes.living.keys())
                elif queue is self._again:
                    queue.append(part)
                else:  # no node takes a new part, so the rest need not be asked about
                    queue.appendleft(part)
                    return

    def _take(self, part: Part, result: PartResult | WorkerDeath, keep: Callable[[Part, Any], None]) -> None:
        if isinstance(result, WorkerDeath):
            self._take_death(part, result)
        elif isinstance(result.outcome, Failure):
            self._take_failure(part, result.outcome)
        elif result.outcome is None:
            self._again.append(part)
        else:
            self._num_made += 1
            self._policy.made(part.name, result.node, time.monotonic())
            keep(part, result.outcome)

    def _take_failure(self, part: Part, failure: Failure) -> None:
        if failure.kind is not StageError:  # interrupted or superseded: not a matter of this part
            self._end_early(failure)
            return
        final = self._policy.failed(part.name, failure, self._nodes.able, time.monotonic())
        if final is not None:
            self._fail(final)
            return
        self._again.append(part)
        if not self._is_ending:
            self._warnings.tried_again(failure)

    def _take_death(self, part: Part, death: WorkerDeath) -> None:
        self._nodes.look(SECONDS_SINCE_DEATH)
        num_deaths = None
        if not death.is_of_node:
            able = self._nodes.able
            num_deaths = self._policy.worker_died(part.name, death.node, self._nodes.is_lost, able, time.monotonic())
        if num_deaths is None:
            self._again.append(part)
        else:
            name = self._payload.name(part)
            self._fail(Failure.of(_died_too_often(name, num_deaths, death.error), name))

    def _fail(self, failure: Failure) -> None:
        self._end.failures.append(failure)
        if self._end.is_one_too_many:
            self._end_early()

    def _end_early(self, because: Failure | None = None) -> None:
        self._end.ended_by = self._end.ended_by or because
        if not self._is_ending:
            self._is_ending = True
            self._given_up_at_seconds = time.monotonic() + self._grace_seconds
            self._tasks.cancel_queued()
            self._wait.end()

    def _leave_nodes_out(self) -> None:
        """Tell the board, and people, of the nodes that get no parts for a while."""
        left_out = self._policy.nodes_left_out(time.monotonic())
        if left_out != self._left_out:
            self._left_out = left_out
            self._board.leave_out.remote(self._payload.key, left_out)
        for one in self._policy.newly_left_out():
            self._warnings.left_out(one)


def _died_too_often(name: str, num_deaths: int, death: RayError) -> StageError:
    error = StageError(
        f"{name} ended its worker {num_deaths} times, the last time by {type(death).__name__}; either it needs more "
        "memory than there is (`memory_bytes`, `max_parallel` in the site), or a library it calls crashes on it"
    )
    error.__cause__ = death
    return error
