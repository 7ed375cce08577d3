"""Committed optimizer steps that a plan would leave unused, because a training begins anew under another fingerprint.

Another learning rate, other rows: each makes another artifact, which begins at step 0, while weeks of a machine may
stand in the one before. Nothing of it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from pipelines.planning.progress import read_progress
from pipelines.planning.request import FROZEN_PLAN, FrozenStep
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import read_head
from stages.store.errors import TornRecordError
from stages.store.record_kind import skip_unreadable
from stages.store.refs import OF_ARTIFACT, OF_RUN, read_ref
from stages.store.store import Store


class UnusedSteps(BaseModel):
    """A training of the same step of the same pipeline whose committed optimizer steps are not used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    num_steps: int
    """Committed optimizer steps, at least 1."""

    def __str__(self) -> str:
        steps = "committed step" if self.num_steps == 1 else "committed steps"
        are = "is" if self.num_steps == 1 else "are"
        return f"begins at step 0; {self.num_steps:,} {steps} of {self.fingerprint[:SHOWN_DIGITS]} {are} not used"


def unused_steps(step: FrozenStep, pipeline: str, store: Store) -> UnusedSteps | None:
    """What a training step that is made from its start leaves unused; None for nothing, or where it trains nothing.

    Looks at two artifacts at most, however many there are: that of the pipeline's newest run, and the newest that was
    finished. Of two with committed steps, the one with more counts.
    """
    if step.num_steps is None:
        return None
    found = [_committed(store, step.stage, fingerprint) for fingerprint in _earlier(step, pipeline, store)]
    return max((one for one in found if one is not None), key=lambda one: one.num_steps, default=None)


def _earlier(step: FrozenStep, pipeline: str, store: Store) -> Iterator[str]:
    """Fingerprints under which this step of this pipeline was made before, other than its own."""
    finished = read_ref(store, f"{pipeline}/{step.name}", OF_ARTIFACT)
    if finished and finished["stage"] == step.stage and finished["fingerprint"] != step.fingerprint:
        yield finished["fingerprint"]
    run = read_ref(store, pipeline, OF_RUN)
    plan = FROZEN_PLAN.read_or_skip(store, f"runs/{run['run']}/plan.json") if run else None
    for before in plan.steps if plan else ():
        if (before.name, before.stage) == (step.name, step.stage) and before.fingerprint != step.fingerprint:
            yield before.fingerprint


def _committed(store: Store, stage: str, fingerprint: str) -> UnusedSteps | None:
    """The committed optimizer steps of an artifact, finished or not; None without one."""
    try:
        head = read_head(store, stage, fingerprint)
    except TornRecordError as error:
        skip_unreadable(error)
        head = None
    num_steps = head.at_step if head else read_progress(store, stage, fingerprint).at_step
    return (
        UnusedSteps(fingerprint=fingerprint, num_steps=num_steps) if isinstance(num_steps, int) and num_steps else None
    )
