"""One attempt at a toy pipeline. As a program it is the driver that tests kill:

python -m tests.cluster.toy_run FOLDER ATTEMPT
"""

import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.graph import run_graph
from cluster.site import Site, load_site
from cluster.step_task import StepOutcome
from stages.artifacts.artifact import open_artifact
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.step_spec import StepSpec
from stages.contract import Event, Step
from stages.store.store import Store
from tests.worlds.cluster_world import CountRecipe, Numbers, SumRecipe, TrainRecipe, add_up, count, train


class ToyRun:
    """One attempt at a pipeline that ends in `last`, over a store of the test's own."""

    def __init__(self, site: Site, folder: Path, last: Sequence[Step[Numbers]], attempt: int = 1) -> None:
        self.site = site
        self.store = Store(folder / "store")
        self.steps = {step.name: step for end in last for step in end.walk()}
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.attempt = AttemptId("run", attempt)

    def specs(self) -> dict[str, StepSpec]:
        return {name: StepSpec.of(step, self.store, self.attempt) for name, step in self.steps.items()}

    def edges(self) -> dict[str, list[str]]:
        return {name: [made.name for made in step.edges.values()] for name, step in self.steps.items()}

    def carry_out(self, watch: Callable[[Event], None] = lambda event: None) -> dict[str, StepOutcome]:
        def on_event(event: Event) -> None:
            self.events.append(event)
            watch(event)

        return run_graph(self.specs(), self.edges(), self.site, on_event, self.stop)

    def checkpoints(self, step: str) -> CheckpointRecords:
        return CheckpointRecords(self.store, self.specs()[step].folder)

    def made(self, step: str) -> Numbers:
        return open_artifact(self.store, self.steps[step].stage.name, self.steps[step].fingerprint, Numbers)

    def ended(self) -> dict[str, str]:
        return {event.step: event.outcome for event in self.events if event.event == "ended"}


def killable(folder: Path) -> list[Step[Numbers]]:
    """Parts that take a while, their sum, and beside them a training that takes a while."""
    diary = folder / "diary"
    parts = count.bind("parts", CountRecipe(diary=str(diary / "parts"), num_parts=10, part_seconds=0.5))
    total = add_up.bind("total", SumRecipe(diary=str(diary / "total")), parts, parts)
    training = train.bind("train", TrainRecipe(diary=str(diary / "train"), num_steps=40, step_seconds=0.2))
    return [total, training]


def main(folder: Path, attempt: int) -> int:
    """Run, say what happens a line each on standard output, and end on SIGINT as a command does."""
    run = ToyRun(load_site("embedded"), folder, killable(folder), attempt)
    signal.signal(signal.SIGINT, lambda *_: run.stop.set())

    def say(event: Event) -> None:
        print(event.model_dump_json(), flush=True)

    outcomes = run.carry_out(say)
    print(json.dumps({name: [outcome.ending, outcome.reason] for name, outcome in outcomes.items()}), flush=True)
    return 0 if all(outcome.is_committed for outcome in outcomes.values()) else 75


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
