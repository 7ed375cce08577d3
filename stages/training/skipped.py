"""Records of damaged rows that a training stage skipped.

Owns `records/skipped/` of the artifact that is being trained: a record for each time a step skipped a row, created
before the step is applied. A resumed run skips the same rows, even where they are whole again, and every checkpoint
names the rows that its steps skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from stages.contract import PartRecord
from stages.formats.packed_rows.rows import DamagedRowError, RowReader
from stages.training.checkpoints.facts import SkippedRowFacts

SKIPPED_PHASE: Final = "skipped"


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


def skipped_steps_and_rows(records: Iterable[PartRecord]) -> frozenset[tuple[int, int]]:
    """(step, row) of each record, steps counted from 0."""
    facts = map(SkippedRowFacts.of, records)
    return frozenset((one.step - 1, one.row) for one in facts)


def skipped_fact(records: Iterable[PartRecord], until_step: int) -> dict[str, list[dict[str, Any]]]:
    """The checkpoint fact `skipped`: rows that the first `until_step` steps skipped; {} where there are none."""
    facts = map(SkippedRowFacts.of, records)
    # One record for each try: a rank that was killed after it had recorded a skip records it again.
    unique = {(one.step, one.row): one.dump() for one in facts if one.step <= until_step}
    return {"skipped": [unique[key] for key in sorted(unique)]} if unique else {}
