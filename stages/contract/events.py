"""Events: what happens while a run is executed, for people to watch and for MLflow to keep.

Events decide nothing. Losing one loses a line on a screen; what is true is in the store. Field names and tags are
stored in outboxes, so they stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from stages.artifacts.records import ItemBalance
from stages.surfaces.visible import bounded

ReasonText: TypeAlias = Annotated[str, AfterValidator(bounded)]
"""Text of an error or a warning as it is recorded: `***` stands for credentials in its URLs, and a long one is cut."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    """Name of the step in its pipeline."""
    at_seconds: float = Field(default_factory=time.time)
    """Unix time, for display only."""


class StepWaiting(_Event):
    """Another attempt makes the same artifact now; the step waits for it."""

    event: Literal["waiting"] = "waiting"
    holder: str
    """The attempt that is waited for, such as `attempt 2 of run tiny-8a1b2c3d`."""
    host: str


class MachinesAwaited(_Event):
    """Work of the step waits for machines; an event whose `asked` is empty says that it no longer does."""

    event: Literal["queued"] = "queued"
    asked: str
    """What waits and what it asks for: `8 ranks of 12 CPUs and 1 GPU`, `3 parts of 2 CPUs and 4 GiB`."""
    has: str = ""
    """What the cluster has, and could have where that is known: `16 CPUs and no GPU on 1 machine`."""


class StepStarted(_Event):
    """The step holds its claim, and its stage begins."""

    event: Literal["started"] = "started"


class StepBusy(_Event):
    """What the step is busy with while it has nothing to count: no part is under way, no optimizer step is done. It is
    over with the next event that counts something."""

    event: Literal["busy"] = "busy"
    doing: str
    """The work in words, such as `starting 2 ranks` or `reading the model`; never empty."""


class PhaseOpened(_Event):
    """A phase's parts are listed; `num_recorded` of them were done before."""

    event: Literal["phase"] = "phase"
    phase: str
    num_parts: int
    num_recorded: int
    items: ItemBalance = ItemBalance()
    """Balance of the parts recorded before."""


class PartProgress(_Event):
    """A part in progress has finished `num_done` items."""

    event: Literal["progress"] = "progress"
    phase: str
    part: str
    num_done: int


class PartRecorded(_Event):
    """A part is committed."""

    event: Literal["part"] = "part"
    phase: str
    part: str
    items: ItemBalance


class NumbersReported(_Event):
    """Metrics of an optimizer step, or of a whole stage (`at_step` None)."""

    event: Literal["numbers"] = "numbers"
    numbers: dict[str, float]
    at_step: int | None = None


class PictureKept(_Event):
    """A picture for people was stored, such as answers after some optimizer steps."""

    event: Literal["picture"] = "picture"
    name: str
    """Name of the series that the picture belongs to, such as `answers`."""
    key: str
    at_step: int


class CheckpointCommitted(_Event):
    """A checkpoint is committed; `at_step` is its optimizer step."""

    event: Literal["checkpoint"] = "checkpoint"
    at_step: int


class CheckpointDelayed(_Event):
    """The store does not take a checkpoint, since the time of the event: training continues and keeps it in memory. It
    is over once that checkpoint, or a later one, is committed."""

    event: Literal["unsaved"] = "unsaved"
    at_step: int
    why: ReasonText
    """What the store answered, by rank."""


class WarningPosted(_Event):
    """Something went wrong and was dealt with; the step continues."""

    # Stored under the names that the first release gave them: the tag `noticed` and the field `said`.
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    event: Literal["noticed"] = "noticed"
    message: ReasonText = Field(validation_alias="said", serialization_alias="said")


class StepEnded(_Event):
    """The step's artifact is committed, or the reason why not."""

    event: Literal["ended"] = "ended"
    outcome: Literal["committed", "reused", "failed", "interrupted", "superseded"]
    items: ItemBalance = ItemBalance()
    seconds: float = 0.0
    reason: ReasonText = ""


Event: TypeAlias = Annotated[
    StepWaiting
    | MachinesAwaited
    | StepStarted
    | StepBusy
    | PhaseOpened
    | PartProgress
    | PartRecorded
    | NumbersReported
    | PictureKept
    | CheckpointCommitted
    | CheckpointDelayed
    | WarningPosted
    | StepEnded,
    Field(discriminator="event"),
]
Post: TypeAlias = Callable[[Event], None]
"""Takes an event; never blocks and never raises."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads an event back from JSON."""
