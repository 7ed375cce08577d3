"""One step in its own Ray task: executes the stage with a Ray context and returns how it ended.

The task reserves no CPU: it opens phases, waits for parts and ranks, and commits. A site counts parts and ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import ray

from cluster.board import BoardPost, StopPoll, flush
from cluster.failure import Failure
from cluster.gangs.gang import run_gang
from cluster.parts.part_task import RecordedWork, TaskPayload
from cluster.parts.spread import Spread
from cluster.recording_context import GatheringContext
from cluster.site import Resources
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.execute_step import execute_step
from stages.commit.run_files import RunFiles, output_kept
from stages.commit.scratch import scratch_folder
from stages.commit.step_spec import StepSpec
from stages.contract import (
    GangLayout,
    InterruptedRunError,
    Part,
    PartRecord,
    PartWork,
    Post,
    Rank,
    StageError,
    SupersededError,
    carried,
)

if TYPE_CHECKING:
    from ray.actor import ActorHandle

# "superseded": another attempt took the artifact over. "reused": it was committed before this attempt began.
Ending = Literal["committed", "reused", "failed", "interrupted", "superseded", "not_started"]
ENDINGS: Mapping[type[StageError], Ending] = {
    InterruptedRunError: "interrupted",
    SupersededError: "superseded",
    StageError: "failed",
}


@dataclass(frozen=True)
class StepOutcome:
    """How one step ended."""

    step: str
    ending: Ending
    fingerprint: str = ""
    """Fingerprint of the artifact, if it is committed, by this attempt or an earlier one; else empty."""
    reason: str = ""
    """Why the artifact is not committed, as a message for people."""
    details: str = ""
    """Traceback of a failure, as text."""

    @property
    def is_committed(self) -> bool:
        """Whether steps that read this one may begin."""
        return self.ending in ("committed", "reused")

    @classmethod
    def of_failure(cls, step: str, failure: Failure) -> StepOutcome:
        """The outcome of a step that ended with this failure."""
        return cls(step, ENDINGS[failure.kind], reason=failure.message, details=failure.details)


@dataclass
class RayContext(GatheringContext):
    """A stage context that runs parts as Ray tasks and ranks with Ray Train."""

    resources: Resources
    board: ActorHandle

    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        sent = carried(self.writer.user_file, work, ray.cloudpickle.dumps)
        Spread(
            TaskPayload(self.writer.step, phase, RecordedWork(self.writer, phase, sent)),
            parts,
            resources=self.resources.of_phase(phase),
            board=self.board,
            post=self.post,
            stop_asked=StopPoll(self.board),
        ).make(lambda _, record: keep(record))

    def gang_layout(self) -> GangLayout:
        return self.resources.gang.layout

    def run_ranks(self, rank_main: Callable[[Rank], None], rows_per_step: int | None, /) -> None:
        run_gang(self.writer, rank_main, self.resources.gang, self.board, rows_per_step)


def run_step_task(spec: StepSpec, resources: Resources, *inputs: StepOutcome, board: ActorHandle) -> StepOutcome:
    """The function of a step's Ray task; never raises. `inputs` are the outcomes of the steps that it reads."""
    try:
        for read in inputs:
            if not read.is_committed:
                raise StageError(f"step {spec.step!r}: its input {read.step!r} is {read.ending}, not committed")
        open_context = partial(_ray_context, resources=resources, board=board)
        with output_kept(RunFiles(spec.store, spec.attempt, spec.step), "step"):
            manifest = execute_step(spec, open_context, BoardPost(board), StopPoll(board))
        ending: Ending = "committed" if manifest.provenance["attempt"] == str(spec.attempt) else "reused"
        return StepOutcome(spec.step, ending, fingerprint=manifest.fingerprint)
    except Exception as error:
        return StepOutcome.of_failure(spec.step, Failure.of(error, f"step {spec.step!r}"))
    finally:
        flush(board)


@contextmanager
def _ray_context(writer: ArtifactWriter, post: Post, resources: Resources, board: ActorHandle) -> Iterator[RayContext]:
    with scratch_folder(writer.step) as scratch:
        yield RayContext(writer=writer, scratch=scratch, post=post, resources=resources, board=board)
