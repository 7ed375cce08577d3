"""A map over parts: each part of a phase is a Ray task, submitted within the limits of the site.

Owns the retries. Ray is told not to retry, because it cannot tell a worker that died, which is retried, from work that
failed, which is not. The worker that made a part records it, so a failure here never loses a recorded part.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError

from cluster.board import BoardPost, StopPoll, flush
from cluster.failure import Failure
from cluster.site import PartResources
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.parts import PartWriter
from stages.contract import InterruptedRunError, Part, PartRecord, PartWork, StageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

RETRIES_AFTER_DEATHS = 3
"""Retries of one part after the worker that made it died."""
POLL_SECONDS = 0.5
"""Longest wait for a part to end before the stop request is looked at again."""
NUM_PARTS_QUEUED_AHEAD = 2
"""Tasks submitted beyond what runs at once, so that a worker that ends finds the next part waiting."""

Outcome: TypeAlias = "PartRecord | Failure | None"
"""Outcome of one part: its record, its failure, or None if it did not begin because the phase was cancelled."""


@dataclass(frozen=True)
class TaskPayload:
    """What all parts of a phase share. Lies in Ray's object store, so it is copied to each machine once."""

    writer: ArtifactWriter
    phase: str
    work: PartWork

    @property
    def key(self) -> str:
        """Name of the phase on the board."""
        return f"{self.writer.folder}/{self.phase}"

    def name(self, part: Part) -> str:
        """Name of a part's task in Ray and in messages: `step 'pairs': part write/00001`."""
        return f"step {self.writer.step!r}: part {self.phase}/{part.name}"


@lru_cache(maxsize=1)
def _payload_of(payload_ref: Any) -> TaskPayload:
    """The payload, unpickled once per worker: it may hold artifacts with the manifests of many thousand parts."""
    payload: TaskPayload = ray.get(payload_ref)
    return payload


def make_part(boxed_ref: list[Any], part: Part, board: ActorHandle) -> Outcome:
    """Make one part in a Ray worker.

    `boxed_ref` is a list that holds the reference to the payload. A reference passed as an argument of its own would be
    resolved by Ray, and so unpickled, for every task.
    """
    payload = _payload_of(boxed_ref[0])
    if not ray.get(board.may_begin.remote(payload.key)):
        return None
    try:
        return PartWriter(payload.writer, BoardPost(board)).make_part(payload.work, payload.phase, part)
    except Exception as error:
        return Failure.of(error, payload.name(part))
    finally:
        flush(board)


class Spread:
    """The Ray tasks of one phase."""

    def __init__(
        self, writer: ArtifactWriter, work: PartWork, phase: str, resources: PartResources, board: ActorHandle
    ) -> None:
        self._payload = TaskPayload(writer, phase, work)
        self._boxed_ref = [ray.put(self._payload)]
        self._resources = resources
        self._task = ray.remote(
            max_retries=0,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
            memory=resources.memory_bytes,
        )(make_part)
        self._board = board
        self._stop_asked = StopPoll(board)
        self._in_flight: dict[Any, Part] = {}
        self._deaths: Counter[str] = Counter()
        self._failure: Failure | None = None
        self._num_made = 0

    def make(self, parts: Sequence[Part], keep: Callable[[PartRecord], None]) -> None:
        """Make all parts, handing each record to `keep` as it comes.

        When a part fails, no more begin, those that run continue to their end, and `StageError` is raised with the
        part's name and cause. When the run is asked to stop, the same with `InterruptedRunError`.
        """
        waiting = deque(parts)
        while waiting or self._in_flight:
            if self._failure is None and not self._stop_asked():
                self._submit(waiting)
            if not self._in_flight:
                break
            for ref in ray.wait(list(self._in_flight), timeout=POLL_SECONDS)[0]:
                record = self._collect(ref, waiting)
                if record is not None:
                    self._num_made += 1
                    keep(record)
        if self._failure is not None:
            raise self._failure.error()
        if self._num_made < len(parts):
            raise InterruptedRunError(
                f"step {self._payload.writer.step!r}: stopped with {len(parts) - self._num_made} of {len(parts)} parts "
                f"of phase {self._payload.phase!r} to go; those made are kept"
            )

    def _submit(self, waiting: deque[Part]) -> None:
        bound = self._resources.max_parallel or _num_parts_at_once(self._resources) + NUM_PARTS_QUEUED_AHEAD
        while waiting and len(self._in_flight) < bound:
            part = waiting.popleft()
            named = self._task.options(name=self._payload.name(part))
            self._in_flight[named.remote(self._boxed_ref, part, self._board)] = part

    def _collect(self, ref: Any, waiting: deque[Part]) -> PartRecord | None:
        part = self._in_flight.pop(ref)
        outcome = self._outcome(ref, part, waiting)
        if isinstance(outcome, PartRecord):
            return outcome
        if outcome is not None and self._failure is None:
            self._failure = outcome
            self._board.cancel_phase.remote(self._payload.key)
        return None

    def _outcome(self, ref: Any, part: Part, waiting: deque[Part]) -> Outcome:
        name = self._payload.name(part)
        try:
            outcome: Outcome = ray.get(ref)
            return outcome
        except RayTaskError as error:  # the task did not begin, for example because its code cannot be imported
            return Failure.of(error.cause or error, name)
        except RayError as death:
            self._deaths[part.name] += 1
            if self._deaths[part.name] <= RETRIES_AFTER_DEATHS:
                waiting.append(part)
                return None
            return Failure.of(_died_too_often(name, self._deaths[part.name], death), name)


def _num_parts_at_once(wanted: PartResources) -> int:
    """Parts that the CPUs and GPUs of the cluster can run at once: 8 CPUs and 2 GPUs, 1 and 0.5 for a part: 4."""
    total = ray.cluster_resources()
    by_cpus = total.get("CPU", 0.0) / wanted.cpus
    return int(min(by_cpus, total.get("GPU", 0.0) / wanted.gpus) if wanted.gpus else by_cpus)


def _died_too_often(name: str, num_deaths: int, death: RayError) -> StageError:
    error = StageError(
        f"{name} ended its worker {num_deaths} times, the last time by {type(death).__name__}; either it needs more "
        "memory than there is (`memory_bytes`, `max_parallel` in the site), or a library it calls crashes on it"
    )
    error.__cause__ = death
    return error
