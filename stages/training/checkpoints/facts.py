"""The facts of a checkpoint's record, and of the records of skipped rows and steps, with named fields.

Owns how they are read. A fact that is not there has its default: checkpoints of other stages, and the last one of a
training, which holds the finished model, state fewer.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from stages.contract import PartFacts

SKIPPED_PHASE: Final = "skipped"
"""The phase under which skipped rows are recorded."""
SKIPPED_STEPS_PHASE: Final = "skipped_steps"
"""The phase under which skipped steps are recorded."""


class SkippedRowFacts(PartFacts):
    """A damaged row that one optimizer step was applied without."""

    step: int
    """Optimizer step, counted from 1."""
    row: int
    """Number of the row in its artifact."""
    rows: str = ""
    """Fingerprint of the Rows artifact."""
    part: str = ""
    """Part of the Rows artifact that holds the row."""
    sample_ids: tuple[str, ...] = ()
    """Sample id of each of the row's documents, hex."""


class SkippedStepFacts(PartFacts):
    """An optimizer step that a person had left out: none of its rows was computed and no update was applied."""

    step: int
    """Optimizer step, counted from 1."""
    reason: str
    """Why, in the words of that person."""
    by: str = ""
    """Who had it left out: user and host."""
    at: str = ""
    """When, ISO 8601 in UTC."""


class StateLayout(BaseModel):
    """What decides which rank holds which slice of the engine's state."""

    model_config = ConfigDict(frozen=True)

    num_ranks: int
    zero_stage: int


class Examined(BaseModel):
    """The loss on held-out rows, and on which: only losses on the same rows are compared."""

    model_config = ConfigDict(frozen=True)

    loss: float
    """Nats for each unit of loss weight."""
    rows: str = ""
    """Fingerprint of the held-out rows; '' in checkpoints of before it was recorded."""
    num_rows: int = 0
    """How many of them were examined: the first ones."""

    @property
    def on(self) -> tuple[str, int]:
        """What it was examined on."""
        return self.rows, self.num_rows


class LeftOutFacts(PartFacts):
    """The facts of a checkpoint that lineage reads, of any stage that trains."""

    skipped: tuple[SkippedRowFacts, ...] = Field(default=())
    """Damaged rows that the steps so far were applied without."""
    skipped_steps: tuple[SkippedStepFacts, ...] = Field(default=())
    """Steps so far that were left out as a whole."""


class CheckpointFacts(LeftOutFacts):
    """What a checkpoint's record states."""

    step: int
    """Number of optimizer steps done."""
    rows: tuple[str, ...] = ()
    """Content digests of the rows that training reads, in order."""
    num_applied: int = 0
    """Number of updates that the optimizer has applied."""
    layout: StateLayout | None = None
    """The layout in which the state was written; None for a finished model."""
    frozen_digest: str = ""
    """Digest of the parameters that do not train."""
    probe_loss: float | None = None
    """Loss on the probe row; None where that row is damaged and skipped."""
    examined: Examined | None = None
    """How it did on held-out rows, if it was examined on any. The finished model also names the `best` state."""
    heldout_loss: float | None = None
    """Loss on held-out rows in checkpoints of older versions, which do not say on which rows."""

    @property
    def is_model(self) -> bool:
        """Whether it holds the finished model, and no state from which training continues."""
        return self.layout is None

    @property
    def examination(self) -> Examined | None:
        """How it did on held-out rows; None where it was examined on none."""
        old = None if self.heldout_loss is None else Examined(loss=self.heldout_loss)
        return self.examined or old
