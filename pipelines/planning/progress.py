"""The progress of an artifact that is not committed: parts recorded, last checkpoint. For showing, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import STEPS_PHASE
from stages.commit.phase_records import PhaseRecords, listed_parts
from stages.store.errors import TornRecordError
from stages.store.store import Store


@dataclass(frozen=True)
class Progress:
    """What the records under an artifact's folder say."""

    phases: dict[str, tuple[int, int]]
    """Phase to (parts recorded, parts listed), in the order of their names."""
    at_step: int | None

    @property
    def started(self) -> bool:
        return self.num_recorded > 0 or self.at_step is not None

    @property
    def num_parts(self) -> int:
        return sum(num_listed for _, num_listed in self.phases.values())

    @property
    def num_recorded(self) -> int:
        return sum(num_recorded for num_recorded, _ in self.phases.values())

    def describe(self) -> str:
        said = [f"{phase} {done} of {listed} parts recorded" for phase, (done, listed) in self.phases.items()]
        if self.at_step is not None:
            said.append(f"checkpoint of step {self.at_step} committed")
        return ", ".join(said)


def read_progress(store: Store, stage: str, fingerprint: str) -> Progress:
    """Read the phases and records of an artifact under way."""
    folder = artifact_folder(stage, fingerprint)
    phases = {phase: _phase_progress(store, folder, phase) for phase in store.folders(f"{folder}/phases/")}
    return Progress(phases=phases, at_step=_last_step(store, folder))


def _phase_progress(store: Store, folder: str, phase: str) -> tuple[int, int]:
    """(parts recorded, parts listed)."""
    names = listed_parts(store, folder, phase)
    return PhaseRecords(store, folder, phase, names, may_write=lambda: False).num_recorded(), len(names)


def _last_step(store: Store, folder: str) -> int | None:
    keys = [key for key in store.keys(f"{folder}/records/{STEPS_PHASE}/") if key.endswith(".json")]
    for key in reversed(keys):
        try:
            record = store.read_json(key)
        except TornRecordError:
            continue
        if record is not None:
            return int(record["facts"]["step"])
    return None
