"""Parts as Ray tasks: handed out within the site's bounds, handed out again where a machine dies.

Ray is told not to retry: a worker that dies is told apart here from work that fails. Recording is done by the worker
that made the part, so whatever happens here afterwards, a recorded part stays recorded.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError

from cluster.board import BoardPost, StopWatch, deliver
from cluster.failure import Failure
from cluster.site import PartResources
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.parts import PartWriter
from stages.contract import InterruptedRunError, Part, PartRecord, PartWork, StageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

RETRIES_AFTER_DEATHS = 3
"""How often one part is handed out again because its worker died."""
SECONDS_BETWEEN_LOOKS = 0.5
NUM_PARTS_QUEUED_AHEAD = 2
"""Parts handed out beyond what the CPUs hold, so that none waits for the next."""

Outcome: TypeAlias = "PartRecord | Failure | None"
"""Of one part: its record, what went wrong, or None where it did not begin because the phase was called off."""


@dataclass(frozen=True)
class TaskPayload:
    """What is the same for all parts of a phase: it travels to each machine once."""

    writer: ArtifactWriter
    phase: str
    work: PartWork

    @property
    def key(self) -> str:
        """The phase's name on the board."""
        return f"{self.writer.folder}/{self.phase}"

    def name(self, part: Part) -> str:
        return f"step {self.writer.step!r}: part {self.phase}/{part.name}"


@lru_cache(maxsize=1)
def _unpacked(payload_ref: Any) -> TaskPayload:
    """The payload, unpacked once in each worker: it may hold artifacts with the manifests of many thousand parts."""
    payload: TaskPayload = ray.get(payload_ref)
    return payload


def make_part(packed: list[Any], part: Part, board: ActorHandle) -> Outcome:
    """Make one part in a Ray worker. `packed` holds the reference to the payload, which Ray then does not unpack."""
    payload = _unpacked(packed[0])
    if not ray.get(board.goes_on.remote(payload.key)):
        return None
    try:
        return PartWriter(payload.writer, BoardPost(board)).make_part(payload.work, payload.phase, part)
    except Exception as error:
        return Failure.of(error, payload.name(part))
    finally:
        deliver(board)


class Spread:
    """The parts of one phase under way."""

    def __init__(
        self, writer: ArtifactWriter, work: PartWork, phase: str, resources: PartResources, board: ActorHandle
    ) -> None:
        self._payload = TaskPayload(writer, phase, work)
        self._packed = [ray.put(self._payload)]
        self._resources = resources
        self._task = ray.remote(
            max_retries=0,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
            memory=resources.memory_bytes,
        )(make_part)
        self._board = board
        self._stop_asked = StopWatch(board)
        self._in_flight: dict[Any, Part] = {}
        self._deaths: Counter[str] = Counter()
        self._failure: Failure | None = None
        self._num_made = 0

    def make(self, parts: Sequence[Part], keep: Callable[[PartRecord], None]) -> None:
        """Make all parts, handing each record to `keep` as it comes.

        Where one fails, those under way are waited for and then `StageError` is raised with its name and cause;
        where the run is to stop, `InterruptedRunError`.
        """
        waiting = deque(parts)
        while waiting or self._in_flight:
            if self._failure is None and not self._stop_asked():
                self._hand_out(waiting)
            if not self._in_flight:
                break
            for ref in ray.wait(list(self._in_flight), timeout=SECONDS_BETWEEN_LOOKS)[0]:
                record = self._take_back(ref, waiting)
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

    def _hand_out(self, waiting: deque[Part]) -> None:
        bound = self._resources.max_parallel or _num_parts_at_once(self._resources) + NUM_PARTS_QUEUED_AHEAD
        while waiting and len(self._in_flight) < bound:
            part = waiting.popleft()
            named = self._task.options(name=self._payload.name(part))
            self._in_flight[named.remote(self._packed, part, self._board)] = part

    def _take_back(self, ref: Any, waiting: deque[Part]) -> PartRecord | None:
        part = self._in_flight.pop(ref)
        outcome = self._outcome(ref, part, waiting)
        if isinstance(outcome, PartRecord):
            return outcome
        if outcome is not None and self._failure is None:
            self._failure = outcome
            self._board.abandon.remote(self._payload.key)
        return None

    def _outcome(self, ref: Any, part: Part, waiting: deque[Part]) -> Outcome:
        name = self._payload.name(part)
        try:
            outcome: Outcome = ray.get(ref)
            return outcome
        except RayTaskError as error:  # the worker could not even begin: its code does not import, say
            return Failure.of(error.cause or error, name)
        except RayError as death:
            self._deaths[part.name] += 1
            if self._deaths[part.name] <= RETRIES_AFTER_DEATHS:
                waiting.append(part)
                return None
            return Failure.of(_killer(name, self._deaths[part.name], death), name)


def _num_parts_at_once(wanted: PartResources) -> int:
    there = ray.cluster_resources()
    by_cpus = there.get("CPU", 0.0) / wanted.cpus
    return int(min(by_cpus, there.get("GPU", 0.0) / wanted.gpus) if wanted.gpus else by_cpus)


def _killer(name: str, num_deaths: int, death: RayError) -> StageError:
    error = StageError(
        f"{name} ended its worker {num_deaths} times, the last time by {type(death).__name__}; either it needs more "
        "memory than there is (`memory_bytes`, `max_parallel` in the site), or a library it calls crashes on it"
    )
    error.__cause__ = death
    return error
