"""One step in its own Ray task: the stage's verbs fulfilled with Ray, and how it ended, sent back.

The task takes no CPU: it opens phases, waits for parts and ranks, and commits. Parts and ranks are what a site counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from cluster.board import BoardPost, StopWatch, deliver
from cluster.failure import Failure
from cluster.gang import run_gang
from cluster.recording_context import GatheringContext
from cluster.site import Resources
from cluster.spread import Spread
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.execute_step import StepSpec, execute_step
from stages.commit.scratch import scratch_folder
from stages.contract import InterruptedRunError, Part, PartRecord, PartWork, Post, Rank, StageError, SupersededError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

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
    """Of the artifact, where one is committed: made now or before."""
    reason: str = ""
    """Why it is not committed, in words for people."""
    details: str = ""
    """The traceback of a failure."""

    @property
    def is_committed(self) -> bool:
        """Whether what reads this step may begin."""
        return self.ending in ("committed", "reused")

    @classmethod
    def of_failure(cls, step: str, failure: Failure) -> StepOutcome:
        return cls(step, ENDINGS[failure.kind], reason=failure.message, details=failure.details)


@dataclass
class RayContext(GatheringContext):
    """Fulfils a stage's verbs with Ray tasks and Ray Train."""

    resources: Resources
    board: ActorHandle

    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        Spread(self.writer, work, phase, self.resources.parts, self.board).make(parts, keep)

    def run_ranks(self, rank_main: Callable[[Rank], None]) -> None:
        run_gang(self.writer, rank_main, self.resources.gang, self.board)


def carry_out_step(order: StepSpec, resources: Resources, *inputs: StepOutcome, board: ActorHandle) -> StepOutcome:
    """The body of a step's Ray task. `inputs` are what the edges of the graph carry."""
    try:
        for found in inputs:
            if not found.is_committed:
                raise StageError(f"step {order.step!r}: its input {found.step!r} is {found.ending}, not committed")
        open_context = partial(_ray_context, resources=resources, board=board)
        manifest = execute_step(order, open_context, BoardPost(board), StopWatch(board))
        ending: Ending = "committed" if manifest.provenance["attempt"] == str(order.attempt) else "reused"
        return StepOutcome(order.step, ending, fingerprint=manifest.fingerprint)
    except Exception as error:
        return StepOutcome.of_failure(order.step, Failure.of(error, f"step {order.step!r}"))
    finally:
        deliver(board)


@contextmanager
def _ray_context(writer: ArtifactWriter, post: Post, resources: Resources, board: ActorHandle) -> Iterator[RayContext]:
    with scratch_folder(writer.step) as scratch:
        yield RayContext(writer=writer, scratch=scratch, post=post, resources=resources, board=board)
