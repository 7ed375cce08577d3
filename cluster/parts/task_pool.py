"""The Ray tasks of one phase that are submitted and not yet collected.

Owns what is said to Ray about a part: its resources, the nodes it must avoid, that Ray retries nothing; and how tasks
that have not begun are taken back. Ray is told not to retry, because it cannot tell a worker that died from work that
failed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, TaskCancelledError, TaskUnschedulableError

from cluster.failure import Failure
from cluster.parts.nodes import NodeWatch
from cluster.parts.part_task import PartResult, TaskPayload, make_part
from cluster.site import PartResources
from stages.contract import Part

if TYPE_CHECKING:
    from ray.actor import ActorHandle

BOARD_SECONDS: Final = 30.0
"""Longest wait for the board to say which parts run."""
BURST_SECONDS: Final = 0.01
"""Tasks that end closer together than this are collected together: Ray looks through all 2,000 at each question."""
NODE_LABEL: Final = "ray.io/node-id"
"""Label that Ray gives every node."""


@dataclass(frozen=True)
class WorkerDeath:
    """The worker of a part died, or its machine."""

    error: RayError
    node: str
    """Id of the Ray node on which the part ran; empty if the part had not begun."""

    @property
    def is_of_node(self) -> bool:
        """Whether Ray knows that the machine is gone."""
        return isinstance(self.error, NodeDiedError)


@dataclass(frozen=True)
class _Submitted:
    part: Part
    avoided: frozenset[str]


class TaskPool:
    """Tasks in flight: submitted, running, or ended and not yet collected."""

    def __init__(self, payload: TaskPayload, resources: PartResources, board: ActorHandle) -> None:
        self._payload = payload
        self._boxed_ref = [ray.put(payload)]
        self._board = board
        self._labels = dict(resources.labels)
        self._task = ray.remote(max_retries=0, **resources.task_options())(make_part)
        self._in_flight: dict[Any, _Submitted] = {}
        self._ended_at_seconds = -math.inf
        self._seen: frozenset[str] = frozenset()
        """Nodes that could hold a part, when they were last looked at."""

    def __len__(self) -> int:
        return len(self._in_flight)

    def submit(self, part: Part, avoided: frozenset[str]) -> None:
        """Submit a part, to run on any node but these."""
        options: dict[str, Any] = {"name": self._payload.name(part)}
        if avoided:
            options["label_selector"] = self._labels | {NODE_LABEL: f"!in({','.join(sorted(avoided))})"}
        ref = self._task.options(**options).remote(self._boxed_ref, part, self._board)
        self._in_flight[ref] = _Submitted(part, avoided)

    def ended(self, timeout_seconds: float) -> Iterator[tuple[Part, PartResult | WorkerDeath]]:
        """Collect tasks that ended, waiting at most this long for the first; all of them where many end."""
        refs = list(self._in_flight)
        ended = ray.wait(refs, timeout=timeout_seconds)[0]
        now_seconds = time.monotonic()
        if now_seconds - self._ended_at_seconds < BURST_SECONDS:
            ended = ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        if ended:
            self._ended_at_seconds = now_seconds
        for ref in ended:
            part = self._in_flight.pop(ref).part
            yield part, self._result(ref, part)

    def cancel_queued(self) -> None:
        """Let no further part of the phase begin, and take back those that have not; those that run continue.

        The board says which run, and refuses the others from that moment on. So no part that runs is interrupted: of a
        task that asks the board at this very moment, either the board has counted it as running, or it does no work.
        """
        with suppress(RayError):  # without a board no part begins either
            running = ray.get(self._board.cancel_phase.remote(self._payload.key), timeout=BOARD_SECONDS)
            self._cancel(lambda ref, _: ref.task_id().hex() not in running)

    def give_up(self) -> None:
        """Leave all tasks to themselves; those that run are ended in the middle of their work."""
        for ref in self._in_flight:
            ray.cancel(ref, force=True, recursive=False)
        self._in_flight.clear()

    def recall_stranded(self, nodes: NodeWatch) -> None:
        """Take back tasks that avoid all nodes that could hold them: they can run nowhere, so none of them runs."""
        if nodes.large_enough != self._seen:
            self._seen = nodes.large_enough
            self._cancel(lambda _, task: bool(task.avoided) and nodes.large_enough <= task.avoided)

    def _cancel(self, is_chosen: Callable[[Any, _Submitted], bool]) -> None:
        for ref, task in self._in_flight.items():
            if is_chosen(ref, task):
                ray.cancel(ref, recursive=False)

    def _result(self, ref: Any, part: Part) -> PartResult | WorkerDeath:
        try:
            result: PartResult = ray.get(ref)
            return result
        except (TaskCancelledError, TaskUnschedulableError):
            return PartResult(None, "")
        except RayTaskError as error:  # the task did not begin, for example because its code cannot be imported
            return PartResult(Failure.of(error.cause or error, self._payload.name(part)), "")
        except RayError as death:
            node = ""
            with suppress(RayError):
                node = ray.get(
                    self._board.part_ended.remote(self._payload.key, ref.task_id().hex()), timeout=BOARD_SECONDS
                )
            return WorkerDeath(death, node)
