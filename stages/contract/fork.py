"""A fork: a training that begins from a committed checkpoint of another, with other fields or other rows from there on.

Owns what a fork remembers of the training that it begins from: enough to resume and to account for what was seen by
both, wherever the other one is by then. The artifact and the step take part in the fingerprint, the rest follows from
them. How one is made is decided in `stages/training/forks.py`, how it is begun in `stages/commit/checkpoints.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.manifest import FORK
from stages.artifacts.records import InputRecord


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReadingSteps(_Frozen):
    """Consecutive optimizer steps that read one Rows artifact in one order."""

    name: str
    """Input name of the rows in the training that took these steps, such as `rows.0`."""
    rows: InputRecord
    """The Rows artifact."""
    seed: int
    """Seed of the order of its rows."""
    rows_per_step: int
    """Rows that one step takes."""
    first_step: int
    """First of the steps, counted from 0."""
    until_step: int
    """The first step that no longer reads it."""
    first_row: int = 0
    """Place of the first row that is read, in the epochs laid end to end."""

    @property
    def next_row(self) -> int:
        """Place of the row that would be read next."""
        return self.first_row + (self.until_step - self.first_step) * self.rows_per_step


class Fork(_Frozen):
    """The checkpoint that a training begins from."""

    stage: str
    """Name of the stage that trained it."""
    fingerprint: str
    """Fingerprint of the training that committed it, which may be unfinished."""
    at_step: int
    """Optimizer steps done in the checkpoint, and number of the first step of the fork, counted from 0."""
    content: str
    """Digest of the content of the checkpoint's record."""
    recipe: dict[str, Any]
    """Recipe of that training."""
    inputs: dict[str, InputRecord]
    """What that training is made of, by input name."""
    course: tuple[ReadingSteps, ...]
    """The rows that were read until the checkpoint, those of earlier forks among them."""
    begun_from: Fork | None = None
    """The checkpoint that that training began from, if it is a fork itself."""

    @property
    def identity(self) -> dict[str, Any]:
        """What takes part in the fingerprint of the fork."""
        return {"fingerprint": self.fingerprint, "step": self.at_step}

    @property
    def short(self) -> str:
        """The training, such as `train_prebuffer/3f2a9c01d4e5`."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"

    def __str__(self) -> str:
        return f"begins at step {self.at_step:,} of {self.short}"


def fork_of(head: ManifestHead) -> Fork | None:
    """The checkpoint that an artifact began from; None for one that is no fork."""
    recorded = head.provenance.get(FORK)
    return None if recorded is None else Fork.model_validate(recorded)
