"""Killed at a commit of the run itself, with a tracker that listens: nothing stays RUNNING there."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.kill.home import Golden, Home
from tests.kill.invariants import hold_at_death, hold_at_the_end
from tests.pipelines.tracking.pages_dump import pages_dump

STEP = "kept"
POINTS_OF_A_RUN = {
    "store.metadata_created": 1,
    "run.frozen": 1,
    "attempt.begun": 1,
    "claim.taken": 1,
    "ref.set": 2,
    "outbox.appended": 2,
    "tracker.op_sent": 2,
    "outbox.marked_sent": 1,
    "attempt.ended": 1,
    "picture.kept": 1,
}
"""Each with the time that it is passed at which the driver dies."""
EDGES = [f"{point}:{edge}@{time}" for point, time in POINTS_OF_A_RUN.items() for edge in ("before", "after")]


@pytest.mark.kill
@pytest.mark.parametrize("edge", EDGES)
def test_killed_there_the_run_ends_well_and_the_pages_say_so(
    edge: str, golden: Golden, fresh_tracker: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path, mlflow=f"sqlite:///{shutil.copy(fresh_tracker, tmp_path / 'mlflow.db')}")
    golden.lend(STEP, home)

    killed = home.run("--until", STEP, fault=f"{edge}=kill")
    assert killed.code == -signal.SIGKILL, killed.out
    hold_at_death(home)
    at_death = home.committed()

    for _ in range(10):  # a run with nothing to make delivers for a minute, and says what it leaves to others
        if "MLflow is slow" not in home.run("--until", STEP).out:
            break
    hold_at_the_end(golden, STEP, at_death, home)
    shown = pages_dump(home.mlflow)
    assert {page["status"] for pages in shown["pages"].values() for page in pages.values()} == {"FINISHED"}

    home.mlflow = f"sqlite:///{shutil.copy(fresh_tracker, tmp_path / 'mirror.db')}"
    assert home.neo("mirror").code == 0
    assert pages_dump(home.mlflow) == shown
