"""How far an artifact that is not committed has come: parts recorded, last checkpoint. For showing, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from stages.artifact import STEPS_PHASE, artifact_folder
from stages.store import Store
from stages.store_errors import TornRecordError


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


def progress_made(store: Store, stage: str, fingerprint: str) -> Progress:
    """Read the phases and records of an artifact under way."""
    folder = artifact_folder(stage, fingerprint)
    recorded: dict[str, int] = {}
    for key in store.keys(f"{folder}/records/"):
        if key.endswith(".json"):
            phase = key.removeprefix(f"{folder}/records/").partition("/")[0]
            recorded[phase] = recorded.get(phase, 0) + 1
    num_checkpoints = recorded.pop(STEPS_PHASE, 0)
    phases = {phase: (recorded.get(phase, 0), _num_listed(store, folder, phase)) for phase in _phases(store, folder)}
    return Progress(phases=phases, at_step=_last_step(store, folder, num_checkpoints))


def _phases(store: Store, folder: str) -> list[str]:
    return [name for name in store.folders(f"{folder}/phases/") if name != STEPS_PHASE]


def _num_listed(store: Store, folder: str, phase: str) -> int:
    try:
        return len(store.read_json(f"{folder}/phases/{phase}/parts.json") or ())
    except TornRecordError:
        return 0


def _last_step(store: Store, folder: str, num_checkpoints: int) -> int | None:
    for number in reversed(range(num_checkpoints)):
        try:
            record = store.read_json(f"{folder}/records/{STEPS_PHASE}/{number:06d}.json")
        except TornRecordError:
            continue
        if record is not None:
            return int(record["facts"]["step"])
    return None
