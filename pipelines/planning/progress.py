"""Progress of artifacts that are not committed: parts recorded, and the last checkpoint.

For showing, and for `continue` in a plan; commits read the records themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import PART_RECORD, STEPS_PHASE
from stages.commit.checkpoints import CHECKPOINT_RECORD
from stages.commit.phase_records import PhaseRecords, listed_parts
from stages.store.store import Store
from stages.training.checkpoints.facts import SKIPPED_STEPS_PHASE


@dataclass(frozen=True)
class Progress:
    """What is recorded under the folder of an unfinished artifact."""

    phases: dict[str, tuple[int, int]]
    """Phase to (parts recorded, parts listed), in the order of their names."""
    at_step: int | None
    """Optimizer step of the last checkpoint; None without one."""
    skipped_steps: tuple[int, ...] = ()
    """Optimizer steps, counted from 1, that a training leaves out, committed or still to come."""

    @property
    def started(self) -> bool:
        """Whether anything is recorded that an attempt can continue from."""
        return self.num_recorded > 0 or self.at_step is not None

    @property
    def num_parts(self) -> int:
        """Parts listed in all phases."""
        return sum(num_listed for _, num_listed in self.phases.values())

    @property
    def num_recorded(self) -> int:
        """Parts recorded in all phases."""
        return sum(num_recorded for num_recorded, _ in self.phases.values())

    def describe(self) -> str:
        """The progress in words, such as `write 3 of 8 parts recorded`."""
        phrases = [f"{phase} {done} of {listed} parts recorded" for phase, (done, listed) in self.phases.items()]
        if self.at_step is not None:
            phrases.append(f"checkpoint of step {self.at_step} committed")
        if self.skipped_steps:
            many = "s" if len(self.skipped_steps) > 1 else ""
            phrases.append(f"step{many} {', '.join(f'{step:,}' for step in self.skipped_steps)} left out")
        return ", ".join(phrases)


def read_progress(store: Store, stage: str, fingerprint: str) -> Progress:
    """The progress of an artifact, from the phases and records in the store."""
    folder = artifact_folder(stage, fingerprint)
    phases = {phase: _phase_progress(store, folder, phase) for phase in store.folders(f"{folder}/phases/")}
    # A stage with phases trains nothing, so it is not asked for steps that it leaves out.
    skipped = () if phases else _skipped_steps(store, folder)
    return Progress(phases=phases, at_step=_last_step(store, folder), skipped_steps=skipped)


def _skipped_steps(store: Store, folder: str) -> tuple[int, ...]:
    """The steps on record as left out, those of torn records excepted."""
    keys = [key for key in store.keys(f"{folder}/records/{SKIPPED_STEPS_PHASE}/") if key.endswith(".json")]
    records = (PART_RECORD.read_or_skip(store, key) for key in keys)
    return tuple(sorted(record.facts["step"] for record in records if record is not None))


def _phase_progress(store: Store, folder: str, phase: str) -> tuple[int, int]:
    """(parts recorded, parts listed)."""
    names = listed_parts(store, folder, phase)
    return PhaseRecords(store, folder, phase, names, may_write=lambda: False).num_recorded(), len(names)


def _last_step(store: Store, folder: str) -> int | None:
    """Optimizer step of the newest checkpoint record that is not torn."""
    keys = [key for key in store.keys(f"{folder}/records/{STEPS_PHASE}/") if key.endswith(".json")]
    for key in reversed(keys):
        record = CHECKPOINT_RECORD.read_or_skip(store, key)
        if record is not None and isinstance(step := record.facts.get("step"), int):
            return step
    return None
