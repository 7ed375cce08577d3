"""Two drivers on Ray, each with a Ray of its own, over one store: they share the work, and one that stood still and
comes back changes nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.kill.on_ray import Driver, RayHome
from tests.pipelines.conftest import TOYS
from tests.pipelines.runs.test_takeover import everything_under

pytestmark = pytest.mark.kill
WHOLE = (f"{TOYS}:whole", "--set", "weights.pause_seconds=0.5")
TRAINED = "artifacts/train_toy/*/records/steps/*.json"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayHome:
    monkeypatch.setenv("TOY_EXECUTIONS", str(tmp_path / "executions.txt"))
    return RayHome(tmp_path, recipe=WHOLE)


def executions(home: RayHome) -> list[str]:
    return (home.folder / "executions.txt").read_text().split()


def family(process_id: int) -> list[int]:
    """A process and all that it started, down to the last: Ray, its workers, the ranks."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [process_id]
    for member in found:
        found.extend(children.get(member, []))
    return found


def send(signal_number: int, driver: Driver) -> None:
    for member in family(driver.process.pid):
        os.kill(member, signal_number)


def test_two_runs_at_once_make_every_part_and_train_every_step_once(home: RayHome) -> None:
    drivers = [home.start(), home.start()]
    said = [driver.wait() for driver in drivers]
    assert [one.code for one in said] == [0, 0], said
    done = executions(home)
    trained = [name for name in done if name.startswith("train")]
    assert sorted(trained) == sorted(2 * [f"train/{step}" for step in range(6)])  # once by each of two ranks
    assert len(done) - len(trained) == len({*done} - {*trained}) == 6


def test_a_ray_that_stood_still_comes_back_and_changes_nothing(home: RayHome) -> None:
    zombie = home.start(NEO_LOST_AFTER_SECONDS="3")
    zombie.wait_until(lambda: bool(list(home.store.glob(TRAINED))))
    send(signal.SIGSTOP, zombie)
    heir = home.start(NEO_LOST_AFTER_SECONDS="3")
    said = heir.wait()
    assert said.code == 0, said.out
    before = everything_under(home.store / "artifacts")
    send(signal.SIGCONT, zombie)
    said = zombie.wait()
    assert said.code == 5, said.out
    assert "superseded by attempt 2 of run whole-" in said.out
    assert everything_under(home.store / "artifacts") == before
