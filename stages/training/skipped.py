"""Records of damaged rows that a training stage skipped.

Owns a record for each time a step lacked a row, created before the step is applied, under
`records/skipped/` of the artifact that is being trained. A resume skips the same rows, even if they are intact by then,
and every checkpoint names what its steps lacked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from stages.contract import PartRecord
from stages.formats.rows import DamagedRowError, RowReader

SKIPPED_PHASE: Final = "skipped"


@dataclass(frozen=True)
class Skipped:
    """A row that one step lacked."""

    step: int
    """Counted from 0."""
    row: int
    rows: str
    """Fingerprint of the Rows artifact."""
    part: str
    sample_ids: tuple[str, ...]
    """Sample ids of its documents, hex."""
    said: str
    """What is wrong with it."""

    @classmethod
    def of(cls, step: int, error: DamagedRowError, reader: RowReader) -> Skipped:
        """The row that an error tells of; its samples are known from the index of its part."""
        sample_ids = tuple(sample_id.hex() for sample_id in reader.sample_ids(error.row))
        return cls(step, error.row, error.rows, error.part, sample_ids, str(error))

    @property
    def facts(self) -> dict[str, Any]:
        """For the record. People count steps from 1."""
        return {**vars(self), "step": self.step + 1, "sample_ids": list(self.sample_ids)}

    @property
    def sentence(self) -> str:
        """For people who watch."""
        return f"step {self.step + 1} goes on without row {self.row} ({len(self.sample_ids)} samples): {self.said}"


def left_out(records: Iterable[PartRecord]) -> frozenset[tuple[int, int]]:
    """(step, row) of what was left out, steps counted from 0."""
    return frozenset((record.facts["step"] - 1, record.facts["row"]) for record in records)


def lacked(records: Iterable[PartRecord], until_step: int) -> dict[str, list[dict[str, Any]]]:
    """What the first `until_step` steps lacked, as a fact of a checkpoint; {} where they lacked nothing."""
    told = ("step", "rows", "part", "row", "sample_ids")
    before = [record.facts for record in records if record.facts["step"] <= until_step]
    unique = {(facts["step"], facts["row"]): {name: facts[name] for name in told} for facts in before}
    return {"skipped": [unique[key] for key in sorted(unique)]} if unique else {}
