"""One part as a Ray task: what is sent to the workers of a phase, and what comes back.

The worker that made a part of a step records it, so a failure after that never loses a recorded part. Work that is no
step's, such as an audit's, records nothing here: what it returns travels to its driver.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import ray
from ray.exceptions import RayError

from cluster.board import FLUSH_SECONDS, BoardPost, StopPoll, answered
from cluster.failure import Failure
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.parts import PartWriter
from stages.commit.run_files import RunFiles, output_kept
from stages.contract import Part, PartRecord, PartWork, Post

if TYPE_CHECKING:
    from ray.actor import ActorHandle


PhaseWork: TypeAlias = Callable[[Part, Post, Callable[[], bool]], Any]
"""Does one part in a worker and returns its outcome, which is never None. Gets the part, where to post events, and
whether the run is to stop: with that, long work may end early and return what it has."""


@dataclass(frozen=True)
class RecordedWork:
    """Makes the parts of one phase of a step, and records each in the store."""

    writer: ArtifactWriter
    phase: str
    work: PartWork

    def __call__(self, part: Part, post: Post, _stop_asked: Callable[[], bool]) -> PartRecord:
        with output_kept(RunFiles.of(self.writer), f"{self.phase}/{part.name}"):
            return PartWriter(self.writer, post).make_part(self.work, self.phase, part)


@dataclass(frozen=True)
class TaskPayload:
    """What all parts of a phase share. Lies in Ray's object store, so it is copied to each machine once."""

    step: str
    """Name of the step, for events and messages; of work that is no step's, what it is: `audit`."""
    phase: str
    work: PhaseWork
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Name of the phase on the board; if the step's process dies and is started again, the phase has another."""

    def name(self, part: Part) -> str:
        """Name of a part's task in Ray and in messages: `step 'pairs': part write/00001`."""
        return f"step {self.step!r}: part {self.phase}/{part.name}"


@dataclass(frozen=True)
class PartResult:
    """What a task returns."""

    outcome: Any
    """What the work returned: of a step, the part's record. A `Failure` if it failed; None if the part did not begin,
    because it was not to begin there."""
    node: str
    """Id of the Ray node on which the task ran."""


@lru_cache(maxsize=1)
def _payload_of(payload_ref: Any) -> TaskPayload:
    """The payload, unpickled once per worker: it may hold artifacts with the manifests of many thousand parts."""
    payload: TaskPayload = ray.get(payload_ref)
    return payload


def make_part(boxed_ref: list[Any], part: Part, board: ActorHandle) -> PartResult:
    """Make one part in a Ray worker.

    `boxed_ref` is a list that holds the reference to the payload. A reference passed as an argument of its own would be
    resolved by Ray, and so unpickled, for every task.
    """
    payload = _payload_of(boxed_ref[0])
    context = ray.get_runtime_context()
    node, task = context.get_node_id(), context.get_task_id()
    if not answered(lambda: board.may_begin.remote(payload.key, task, node)):
        return PartResult(None, node)
    try:
        return PartResult(payload.work(part, BoardPost(board), StopPoll(board)), node)
    except Exception as error:
        return PartResult(Failure.of(error, payload.name(part), node), node)
    finally:
        # Answered after what this worker posted before, which therefore is not lost if the worker ends now.
        with suppress(RayError):
            ray.get(board.part_ended.remote(payload.key, task), timeout=FLUSH_SECONDS)
