"""Attempts: numbered, alive, dead or out of contact, asked to stop, and buried by whoever knows that they are dead."""

import os
import socket
import time
from pathlib import Path

import pytest

from pipelines.planning.plan import decide
from pipelines.planning.request import Request
from pipelines.running.listed_runs import listed_runs
from pipelines.runs.attempts import end_dead_attempts, reconcile
from pipelines.runs.outbox import Outbox
from pipelines.runs.run import AttemptRecord, Run, open_run
from stages.commit.heartbeat import LOST_AFTER_VARIABLE, Heartbeat, Observer, ProcessMark, beat_seconds
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.pipelines.running.test_execute_run import DATA, the_run, wait_until


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(Store(tmp_path / "store"), Request(pipeline="toy", request="toy", targets=(), steps=()))


def begin_elsewhere(run: Run) -> AttemptRecord:
    """An attempt of a driver on another machine, of whose processes nothing is known here."""
    number = run.num_attempts + 1
    record = AttemptRecord(number=number, **ProcessMark.here() | {"host": "far-away", "machine": "another"})
    assert run.store.create_json(f"{run.folder}/attempts/{number}.json", record.model_dump(mode="json"))
    return record


def begin_here(run: Run) -> int:
    return run.begin_attempt(decide(run.request, run.store), "here")


def test_attempts_are_numbered_from_1_and_two_at_once_take_two_numbers(run: Run) -> None:
    assert run.state() == "planned"
    assert [begin_here(run) for _ in range(3)] == [1, 2, 3]
    assert run.num_attempts == 3
    assert [record.process_id for record in run.attempts()] == [os.getpid()] * 3
    assert run.attempt(1).host == socket.gethostname()
    assert run.state() == "running"


@pytest.mark.parametrize("outcome", ["done", "failed", "interrupted", "superseded", "killed"])
def test_an_end_is_said_once_and_is_the_state(run: Run, outcome) -> None:
    number = begin_here(run)
    assert run.end_attempt(number, outcome, "because")
    assert not run.end_attempt(number, "done")
    assert (run.state(), run.end(number).reason) == (outcome, "because")


def test_an_attempt_is_asked_to_stop_by_its_number_alone(run: Run) -> None:
    first, second = begin_here(run), begin_here(run)
    assert run.request_stop(first)
    assert not run.request_stop(first)
    assert run.is_stop_requested(first) and not run.is_stop_requested(second)
    assert run.store.read_json(f"{run.folder}/cancel/1.json")["host"] == socket.gethostname()


def test_another_machines_attempt_is_unknown_until_its_counter_moves(run: Run) -> None:
    begin_elsewhere(run)
    assert run.state() == "unknown"
    assert not end_dead_attempts(run, Observer(run.store)) and run.end(1) is None
    observer = Observer(run.store)
    heart = Heartbeat(run.store, run.heartbeat_key(1))
    wait_until(lambda: run.state(observer) == "running")
    heart.stop()
    (seen,) = run.open_attempts(observer)
    assert (seen.record.host, seen.life) == ("far-away", "alive") and seen.heartbeat_age_seconds < 60


def test_show_says_which_attempts_are_out_of_contact(site: NeoSite) -> None:
    assert site.neo("run", DATA).code == 0
    run = the_run(site)
    begin_elsewhere(run)
    shown = site.neo("show", run.name)
    assert f"{run.name}: pipeline data, unknown, 2 attempts" in shown.out
    (line,) = (line for line in shown.out.splitlines() if "attempt 2 on far-away" in line)
    assert f"process {os.getpid()}" in line and "out of contact" in line


def test_a_lost_attempt_is_ended_after_it_was_watched_long_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOST_AFTER_VARIABLE, "0.5")
    begin_elsewhere(run)
    observer = Observer(run.store)
    assert not end_dead_attempts(run, observer)
    wait_until(lambda: end_dead_attempts(run, observer))
    # Without a step everything that was asked for is made.
    assert (run.state(), run.end(1).reason) == ("done", "no heartbeat for 0.5 s")


def test_a_driver_that_is_found_dead_a_day_later_has_worked_as_long_as_its_heart_beat(run: Run) -> None:
    day_ago = time.time() - 86_400
    gone = AttemptRecord(number=1, at_seconds=day_ago, **ProcessMark.here() | {"process_started_ticks": 1})
    run.store.create_json(f"{run.folder}/attempts/1.json", gone.model_dump(mode="json"))
    run.store.overwrite(run.heartbeat_key(1), b"30")
    assert end_dead_attempts(run, Observer(run.store))
    end = run.end(1)
    assert end is not None and end.at_seconds > day_ago + 86_000
    assert end.stopped_at_seconds - day_ago == pytest.approx(30 * beat_seconds())
    ((listed,), _) = listed_runs(run.store, None)
    assert listed.seconds == pytest.approx(30 * beat_seconds())
    second = begin_here(run)
    run.end_attempt(second, "interrupted")  # its own driver says so: no heartbeat is asked for
    assert run.end(second).stopped_at_seconds == run.end(second).at_seconds


def test_a_run_is_at_work_while_any_of_its_attempts_is(run: Run) -> None:
    begin_here(run)
    second = begin_here(run)
    run.end_attempt(second, "interrupted")
    assert run.state() == "running"
    run.end_attempt(1, "done")
    assert run.state() == "interrupted"


def test_reconciling_leaves_alone_what_may_be_alive(run: Run) -> None:
    begin_elsewhere(run)
    gone = AttemptRecord(number=2, **ProcessMark.here() | {"process_started_ticks": 1})
    run.store.create_json(f"{run.folder}/attempts/2.json", gone.model_dump(mode="json"))
    assert reconcile(run.store) == []
    assert run.end(1) is None and run.end(2).reason == "its process is gone"
    run.end_attempt(1, "interrupted")
    assert [waiting.name for waiting in reconcile(run.store)] == [run.name]
    assert Outbox(run.store, run.name).num_pending() == 1


def test_a_run_that_is_asked_to_stop_stops_at_its_next_commit_with_75(site: NeoSite) -> None:
    slow = ("--set", "pairs.pause_seconds=1")
    driver = site.start("run", DATA, *slow)
    wait_until(lambda: bool(list(site.folder.glob("store/runs/*/attempts/1.beat"))))
    run = the_run(site)
    assert run.state() == "running"
    assert run.request_stop(1)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 75, out
    assert "Asked to stop by `neo cancel`" in out
    assert (run.state(), run.end(1).outcome) == ("interrupted", "interrupted")
    assert site.neo("run", DATA, *slow).code == 0


def test_an_attempt_that_was_taken_for_dead_stops_and_says_so(site: NeoSite) -> None:
    driver = site.start("run", DATA, "--set", "pairs.pause_seconds=1")
    wait_until(lambda: bool(list(site.folder.glob("store/runs/*/attempts/1.beat"))))
    run = the_run(site)
    run.end_attempt(1, "killed", "no heartbeat for 60 s")
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 5, out
    assert "another command took this attempt for dead (no heartbeat for 60 s)" in out
    assert run.end(1).outcome == "killed"
