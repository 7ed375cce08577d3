"""Two drivers, one store: one works and the other waits, or takes over; a driver that comes back changes nothing."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.commit.heartbeat import LOST_AFTER_VARIABLE
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import DATA, Executions, manifest_of, the_run, wait_until

WHOLE = f"{TOYS}:whole"
FETCHED = "store/artifacts/fetch_toys/*/records/fetch/*.json"
TRAINED = "store/artifacts/train_toy/*/records/steps/*.json"
TOLD = "store/runs/*/outbox/*.sent"
QUICK = {LOST_AFTER_VARIABLE: "1.5"}
"""A driver that gives no heartbeat for so long is taken for dead."""
PATIENT = {LOST_AFTER_VARIABLE: "600"}

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Type a command in a process of its own; whatever is left of it at the end of the test goes."""
    started: list[subprocess.Popen[str]] = []

    def type_(site: NeoSite, *words: str, **environment: str) -> subprocess.Popen[str]:
        started.append(site.start(*words, **QUICK | environment))
        return started[-1]

    yield type_
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def ended(driver: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = driver.communicate(timeout=120)
    return driver.returncode, out


def everything_under(folder: Path) -> dict[str, bytes]:
    """What can be seen of artifacts: all but private places, and claims, which decide nothing."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in files if not {"attempts", "claims"} & set(path.parts)}


def test_a_second_run_waits_for_the_first_says_so_and_reuses_what_it_made(
    site: NeoSite, start: Start, executions: Executions
) -> None:
    seen = site.folder / "seen"
    first = start(site, "run", DATA, TOY_STUCK_FROM_PART="1", TOY_STUCK_UNTIL=str(seen), **PATIENT)
    wait_until(lambda: bool(list(site.folder.glob(FETCHED))))
    second = start(site, "run", DATA, **PATIENT)
    run = the_run(site)
    assert second.stdout is not None
    assert any(f"waits for attempt 1 of run {run.name}" in line for line in second.stdout), "it ended without waiting"
    seen.touch()
    code, out = ended(second)
    assert code == 0, out
    assert ended(first)[0] == 0
    assert len(executions()) == len(set(executions())) == 6
    assert run.state() == "done"


def test_two_runs_at_once_make_every_part_and_train_every_step_once(
    site: NeoSite, start: Start, executions: Executions
) -> None:
    drivers = [start(site, "run", WHOLE, **PATIENT) for _ in range(2)]
    assert [ended(driver)[0] for driver in drivers] == [0, 0]
    done = executions()
    assert len(done) == len(set(done))
    assert [name for name in done if name.startswith("train")] == [f"train/{step}" for step in range(6)]
    assert len([name for name in done if not name.startswith("train")]) == 6


def test_a_run_that_waits_can_be_stopped(site: NeoSite, start: Start) -> None:
    first = start(site, "run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(site.folder.glob(FETCHED))))
    second = start(site, "run", DATA)
    assert any("waits for attempt 1" in line for line in second.stdout)
    assert the_run(site).request_stop(2)
    code, out = ended(second)
    assert code == 75, out
    assert (
        "stopped while it waited for attempt 1 of run" in site.neo("show", the_run(site).name).out or "stopped" in out
    )
    assert first.poll() is None


def test_a_run_that_finds_its_predecessor_killed_does_not_wait(site: NeoSite, start: Start) -> None:
    first = start(site, "run", DATA, TOY_STUCK_FROM_PART="1", **PATIENT)
    wait_until(lambda: bool(list(site.folder.glob(FETCHED))))
    first.kill()
    first.communicate()
    code, out = ended(start(site, "run", DATA, **PATIENT))
    assert code == 0 and "waits for" not in out
    claims = sorted(site.artifact_folder("pairs").glob("claims/*.json"))
    assert "is gone" in claims[1].read_text()


def test_whoever_knows_that_a_run_is_lost_need_not_wait_for_it(
    site: NeoSite, start: Start, executions: Executions
) -> None:
    """As after the head of a cluster is lost: its processes live on for a while, beat, and can do nothing."""
    go_on = site.folder / "go-on"
    lost = start(site, "run", DATA, TOY_STUCK_FROM_PART="1", TOY_STUCK_UNTIL=str(go_on), **PATIENT)
    wait_until(lambda: bool(list(site.folder.glob(FETCHED))))
    refused = site.neo("resume")
    assert refused.code == 4 and "is under way: attempt 1" in refused.err and "--take-over" in refused.err
    code, out = ended(start(site, "resume", "--take-over", **PATIENT))
    assert code == 0, out
    assert "Attempt 1 is superseded: it commits nothing more." in out and "waits for" not in out
    run, before = the_run(site), everything_under(site.folder / "store" / "artifacts")
    assert run.end(1).outcome == "superseded" and run.state() == "done"
    go_on.touch()
    code, out = ended(lost)
    assert code == 5, out
    assert everything_under(site.folder / "store" / "artifacts") == before


def test_a_driver_that_stood_still_comes_back_and_changes_nothing(
    tracked: NeoSite, start: Start, executions: Executions
) -> None:
    go_on = tracked.folder / "go-on"
    zombie = start(tracked, "run", DATA, TOY_STUCK_FROM_PART="1", TOY_STUCK_UNTIL=str(go_on))
    wait_until(lambda: bool(list(tracked.folder.glob(FETCHED)) and list(tracked.folder.glob(TOLD))))
    os.killpg(zombie.pid, signal.SIGSTOP)
    code, out = ended(start(tracked, "run", DATA))
    assert code == 0, out
    run = the_run(tracked)
    assert f"waits for attempt 1 of run {run.name}" in out
    before = everything_under(tracked.folder / "store" / "artifacts")
    go_on.touch()
    os.killpg(zombie.pid, signal.SIGCONT)
    code, out = ended(zombie)
    assert code == 5, out
    assert f"superseded by attempt 2 of run {run.name}" in out
    assert out.rstrip().endswith(f"Next: neo status {run.name} --site {tracked.file}")
    assert everything_under(tracked.folder / "store" / "artifacts") == before
    assert [part["made_by"]["attempt"][-1] for part in manifest_of(tracked, "pairs")["parts"]] == ["1", "2", "2"]
    assert run.state() == "done"
    assert tracked.neo("audit", "data/rows").code == 0
    assert statuses(tracked) == {"FINISHED"}


def statuses(site: NeoSite) -> set[str]:
    """How the pages of all steps and runs stand."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{site.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("data")
    return {page.info.status for page in client.search_runs([experiment.experiment_id])}


@pytest.mark.long
def test_ranks_that_stood_still_come_back_and_commit_nothing(site: NeoSite, start: Start) -> None:
    slow = ("--set", "weights.pause_seconds=0.4")
    zombie = start(site, "run", WHOLE, *slow)
    wait_until(lambda: bool(list(site.folder.glob(TRAINED))))
    os.killpg(zombie.pid, signal.SIGSTOP)
    code, out = ended(start(site, "run", WHOLE, *slow))
    assert code == 0, out
    before = everything_under(site.folder / "store" / "artifacts")
    os.killpg(zombie.pid, signal.SIGCONT)
    code, out = ended(zombie)
    assert code == 5, out
    assert f"superseded by attempt 2 of run {the_run(site).name}" in out
    assert everything_under(site.folder / "store" / "artifacts") == before
    made_by = [path.read_text().count(f"{the_run(site).name}-2") for path in sorted(site.folder.glob(TRAINED))]
    assert [bool(count) for count in made_by] == [False, True, True]
