"""What `neo show` says of how an artifact was made: when and how long; of a training, its losses and checkpoints.

No more is read than is shown: a small record for each attempt, one listing of the checkpoints, the newest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.lineage.graph import best_examined
from pipelines.runs.feed import LossAt, StepRecord, step_history
from pipelines.screen.byte_progress import size_in_words
from pipelines.screen.text_table import TextTable, number
from pipelines.screen.units import counted, times_in_words
from stages.artifacts.artifact import Artifact
from stages.artifacts.records import STEPS_PHASE, PartRecord
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CHECKPOINT_RECORD
from stages.training.checkpoints.facts import CheckpointFacts

MAX_CHECKPOINTS = 10
"""Checkpoints that are shown, the newest; `num_kept` says how many there are."""


@dataclass(frozen=True)
class Making:
    """How an artifact was made."""

    history: Sequence[StepRecord]
    """How its step went in each attempt of its run that is on record, in order."""
    best: dict[str, Any] | None
    """`step` and `loss` of the state that was the best on held-out rows; None where nothing was examined."""
    num_committed: int
    """Checkpoints that were committed; 0 for what no training made."""
    num_kept: int
    """Those of them whose files are still there."""
    newest: Sequence[PartRecord]
    """The newest of these, in order."""

    @classmethod
    def of(cls, artifact: Artifact) -> Making:
        """Read how an artifact was made."""
        made_by = artifact.head.provenance
        history: list[StepRecord] = []
        if "run" in made_by and "step" in made_by:
            history = step_history(artifact.store, AttemptId.parse(made_by["attempt"]), made_by["step"])
        committed, kept = _checkpoint_keys(artifact) if artifact.head.at_step is not None else ([], [])
        found = CHECKPOINT_RECORD.read_many(artifact.store, kept[-MAX_CHECKPOINTS:])
        newest = [record for record in map(CHECKPOINT_RECORD.readable, found) if record is not None]
        return cls(history, best_examined(artifact), len(committed), len(kept), newest)

    @property
    def losses(self) -> tuple[LossAt, LossAt] | None:
        """The first and the last training loss that was reported; None where none was."""
        first = next((one.first_loss for one in self.history if one.first_loss is not None), None)
        last = next((one.last_loss for one in reversed(self.history) if one.last_loss is not None), None)
        return None if first is None or last is None else (first, last)

    def lines(self) -> list[str]:
        """The times and the losses for people."""
        lines = []
        if self.history:
            times = times_in_words(self._began_seconds, self._began_seconds + self._seconds)
            lines.append(f"  made        {times}" + (f", {self._attempts}" if len(self.history) > 1 else ""))
        told = [] if self.losses is None else [f"{one.loss:.4g} at step {one.at_step:,}" for one in self.losses]
        if self.best is not None:
            told.append(f"the best held-out one {self.best['loss']:.4g} at step {self.best['step']:,}")
        if told:
            lines.append(f"  losses      {', '.join(dict.fromkeys(told))}")
        return lines

    def table(self) -> list[TextTable | str]:
        """The newest checkpoints that are kept, as a table below a blank line; nothing for what no training made."""
        if not self.newest:
            return []
        table = TextTable("checkpoint", number("held-out loss"), number("size"), "holds")
        for record in self.newest:
            facts = CheckpointFacts.of(record)
            loss = None if facts.examination is None else f"{facts.examination.loss:.4g}"
            holds = "the model" if facts.is_model else "weights and optimizer"
            table.add(f"step {facts.step:,}", loss, size_in_words(_size_bytes(record)), holds)
        deleted = self.num_committed - self.num_kept
        more = [f"and {counted(self.num_kept - len(self.newest), 'earlier checkpoint')}"]
        return [
            "",
            table,
            *(more if self.num_kept > len(self.newest) else []),
            *([f"{counted(deleted, 'other')} committed, whose files were deleted since"] if deleted else []),
        ]

    def document(self) -> dict[str, Any]:
        """All of it for `--json`."""
        first, last = self.losses or (None, None)
        return {
            "began_at_seconds": self._began_seconds if self.history else None,
            "seconds": self._seconds if self.history else None,
            "attempts": [one.model_dump(mode="json") for one in self.history],
            "losses": {
                "first": first.model_dump() if first else None,
                "last": last.model_dump() if last else None,
                "best_heldout": self.best,
            },
            "checkpoints": {
                "num_committed": self.num_committed,
                "num_kept": self.num_kept,
                "newest": [_checkpoint_document(record) for record in self.newest],
            },
        }

    @property
    def _began_seconds(self) -> float:
        return self.history[0].ended_at_seconds - self.history[0].seconds

    @property
    def _seconds(self) -> float:
        return round(sum(one.seconds for one in self.history), 3)

    @property
    def _attempts(self) -> str:
        return f"in {counted(len(self.history), 'attempt')}"


def _checkpoint_keys(artifact: Artifact) -> tuple[list[str], list[str]]:
    """The keys of the records of all checkpoints, and of those whose files were not deleted; in order."""
    found = set(artifact.store.keys(f"{artifact.folder}/records/{STEPS_PHASE}/"))
    committed = sorted(key for key in found if key.endswith(".json"))
    return committed, [key for key in committed if f"{key}.deleted" not in found]


def _checkpoint_document(record: PartRecord) -> dict[str, Any]:
    facts = CheckpointFacts.of(record)
    return {
        "at_step": facts.step,
        "heldout_loss": None if facts.examination is None else facts.examination.loss,
        "size_bytes": _size_bytes(record),
        "is_model": facts.is_model,
    }


def _size_bytes(record: PartRecord) -> int:
    return sum(entry.size_bytes for entry in record.files)
