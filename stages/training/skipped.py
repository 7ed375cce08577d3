"""Records of what a training stage left out: damaged rows of a step, and whole steps.

Owns `records/skipped/` of the artifact that is being trained: a record for each time a step skipped a row, created
before the step is applied; and `records/skipped_steps/`: a record for each step that a person had left out (`neo skip`)
before it was committed. A resumed run leaves out the same, even where it is whole again, and every checkpoint names
what its steps left out. At a step that is left out the optimizer does nothing: weights, moments and its count of
updates stay as they are, and the next step has the learning rate of its own number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from stages.contract import PartRecord
from stages.formats.packed_rows.rows import DamagedRowError, RowReader
from stages.training.checkpoints.facts import LeftOutFacts, SkippedRowFacts, SkippedStepFacts


@dataclass(frozen=True)
class Skipped:
    """A row that one step skipped."""

    step: int
    """Optimizer step, counted from 0."""
    row: int
    rows: str
    """Fingerprint of the Rows artifact."""
    part: str
    sample_ids: tuple[str, ...]
    """Sample id of each of its documents, hex."""
    reason: str
    """What is damaged, in words; stored as `said`."""

    @classmethod
    def of(cls, step: int, error: DamagedRowError, reader: RowReader) -> Skipped:
        """The row that an error names; its samples are read from the index of its part."""
        sample_ids = tuple(sample_id.hex() for sample_id in reader.sample_ids(error.row))
        return cls(step, error.row, error.rows, error.part, sample_ids, str(error))

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of its record, where steps count from 1 as people count them."""
        stored = {**vars(self), "step": self.step + 1, "sample_ids": list(self.sample_ids)}
        stored["said"] = stored.pop("reason")  # the name in records that are already in stores
        return stored

    @property
    def sentence(self) -> str:
        """The warning that is posted for people."""
        return f"step {self.step + 1} skips row {self.row} ({len(self.sample_ids)} samples): {self.reason}"


@dataclass(frozen=True)
class LeftOutOfSteps:
    """What steps of a training are applied without. Steps are counted from 0. Pickles, for loader workers."""

    rows: frozenset[tuple[int, int]] = frozenset()
    """(step, row) of damaged rows."""
    steps: Mapping[int, str] = field(default_factory=dict)
    """Steps that are left out as a whole, each with the reason."""

    @classmethod
    def recorded(cls, rows: Iterable[PartRecord], steps: Iterable[PartRecord]) -> LeftOutOfSteps:
        """What these records of skipped rows and of skipped steps say."""
        facts = (SkippedRowFacts.of(record) for record in rows), (SkippedStepFacts.of(record) for record in steps)
        return cls._of(*facts)

    @classmethod
    def of_checkpoint(cls, record: PartRecord) -> LeftOutOfSteps:
        """What the steps up to a checkpoint were applied without."""
        facts = LeftOutFacts.of(record)
        return cls._of(facts.skipped, facts.skipped_steps)

    @classmethod
    def _of(cls, rows: Iterable[SkippedRowFacts], steps: Iterable[SkippedStepFacts]) -> LeftOutOfSteps:
        return cls(frozenset((one.step - 1, one.row) for one in rows), {one.step - 1: one.reason for one in steps})

    def holds(self, step: int, row: int) -> bool:
        """Whether a step is applied without this row of its own."""
        return step in self.steps or (step, row) in self.rows


def skipped_fact(
    records: Iterable[PartRecord], until_step: int, before: Iterable[SkippedRowFacts] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The checkpoint fact `skipped`: rows that the first `until_step` steps skipped; {} where there are none.

    `before` are those that steps before a fork skipped.
    """
    facts = chain(before, map(SkippedRowFacts.of, records))
    # One record for each try: a rank that was killed after it had recorded a skip records it again.
    unique = {(one.step, one.row): one.dump() for one in facts if one.step <= until_step}
    return {"skipped": [unique[key] for key in sorted(unique)]} if unique else {}


def skipped_steps_fact(
    records: Iterable[PartRecord], until_step: int, before: Iterable[SkippedStepFacts] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The checkpoint fact `skipped_steps`: those of the first `until_step` steps that were left out; {} for none.

    `before` are those before a fork.
    """
    facts = chain(before, map(SkippedStepFacts.of, records))
    unique = {one.step: one.dump() for one in facts if one.step <= until_step}
    return {"skipped_steps": [unique[step] for step in sorted(unique)]} if unique else {}
