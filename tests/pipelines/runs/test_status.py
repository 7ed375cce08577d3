"""`neo status` reads from the store how a run stands: what is done, what moves, how fast, and who is at it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from pipelines.planning.plan import decide
from pipelines.runs.outbox import AwaitedMachines, EventWriter, Message, Outbox
from pipelines.runs.run import Run
from pipelines.runs.status import RunStatus
from pipelines.screen.progress import Scoreboard
from stages.artifacts.records import ItemBalance
from stages.contract import (
    CheckpointCommitted,
    CheckpointDelayed,
    MachinesAwaited,
    NumbersReported,
    PartRecorded,
    PhaseOpened,
    StepBusy,
    StepEnded,
    StepStarted,
    WarningPosted,
)
from stages.store.metadata import open_store
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import kill_in_the_middle, the_run, wait_until
from tests.pipelines.runs.many_runs import counted, fill_outbox
from tests.pipelines.runs.test_resume import elsewhere

DATA = f"{TOYS}:data"


@pytest.fixture
def under_way(site: NeoSite) -> Iterator[Popen[str]]:
    """A run that has two of three parts and is stuck in the third."""
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="2")
    wait_until(lambda: len(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))) == 2)
    yield driver
    driver.kill()
    driver.communicate()


def steps(document: dict) -> dict[str, dict]:
    return {step["name"]: step for step in document["steps"]}


def test_a_run_that_is_done_says_so_for_each_step(site: NeoSite) -> None:
    site.neo("run", DATA)
    document = site.neo("status", "--json").json
    assert document["state"] == "done" and document["next"].startswith("neo show data/rows")
    assert {step["state"] for step in document["steps"]} == {"committed"}
    assert {step["attempt"] for step in document["steps"]} == {f"{document['run']}-1"}
    assert "10 kept, 2 failed" in site.neo("status", "data").out


def test_a_run_under_way_says_how_far_it_is(site: NeoSite, under_way: Popen[str]) -> None:
    wait_until(lambda: steps(site.neo("status", "--json").json)["pairs"]["phase"] == "fetch", seconds=20)
    document = site.neo("status", "--json").json
    pairs = steps(document)["pairs"]
    assert document["state"] == "running" and document["next"].startswith("neo status data-")
    assert (pairs["state"], pairs["num_recorded"], pairs["num_parts"]) == ("running", 2, 3)
    assert pairs["commit_age_seconds"] < 60 and pairs["seconds_left"] is not None
    assert steps(document)["kept"]["state"] == "waiting"
    assert "fetch 2/3 parts" in site.neo("status").out


def test_a_killed_run_is_not_shown_running(site: NeoSite) -> None:
    kill_in_the_middle(site, num_recorded=2)
    said = site.neo("status")
    assert "killed, attempt 1" in said.out and "(its process is gone)" in said.out
    assert said.last_line.startswith("Next: neo resume data-")
    pairs = steps(site.neo("status", "--json").json)["pairs"]
    assert (pairs["state"], pairs["num_recorded"], pairs["seconds_left"]) == ("interrupted", 2, None)


def test_a_driver_out_of_contact_is_unknown_and_one_that_beats_elsewhere_is_running(
    site: NeoSite, under_way: Popen[str]
) -> None:
    elsewhere(the_run(site), 1)
    assert site.neo("status", "--json").json["state"] == "running"
    under_way.kill()
    under_way.communicate()
    said = site.neo("status")
    assert ": unknown, attempt 1 on far-away" in said.out and "no heartbeat seen yet" in said.out
    assert said.last_line.startswith("Next: neo status data-")


def test_watching_follows_to_the_end(site: NeoSite) -> None:
    driver = site.start("run", DATA, "--set", "pairs.pause_seconds=1")
    wait_until(lambda: bool(list(site.folder.glob("store/runs/*/outbox/*.json"))))
    said = site.neo("status", "--watch")
    driver.communicate()
    assert said.code == 0 and "rows  committed" in said.out and ": done, attempt 1" in said.out


def test_watching_a_driver_that_is_killed_ends_with_its_end(site: NeoSite, under_way: Popen[str]) -> None:
    watcher = site.start("status", "--watch")
    assert any("pairs  running" in line for line in watcher.stdout)
    under_way.kill()
    under_way.communicate()
    out, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0 and ": killed, attempt 1" in out and "(its process is gone)" in out
    assert the_run(site).end(1).outcome == "killed"


def test_status_of_nothing_says_so(site: NeoSite) -> None:
    open_store(site.store)
    assert site.neo("status").code == 2


def tell(run: Run, attempt: int, *events) -> None:
    """What a driver leaves in the store of these events."""
    outbox = Outbox(run.store, run.name)
    outbox.append(Message(kind="attempt_started", attempt=attempt))
    writer = EventWriter(outbox, attempt)
    for event in events:
        writer.post(event)
    writer.close()


def test_counts_hold_after_the_phase_that_their_message_opens(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:broken_data")
    run, now = the_run(site), time.time()
    assert run.begin_attempt(decide(run.request, run.store), "here") == 2  # in this process, so it lives
    recorded = [
        PartRecorded(step="kept", phase="judge", part=str(number), items=ItemBalance(kept=50)) for number in range(3)
    ]
    tell(
        run,
        2,
        StepStarted(step="kept", at_seconds=now - 100),
        PhaseOpened(step="kept", phase="judge", num_parts=9, num_recorded=3, at_seconds=now - 100),
        *recorded,
    )
    state = RunStatus(run).board.steps["kept"]
    assert (state.phase, state.num_recorded, state.num_parts, state.items.kept) == ("judge", 6, 9, 150)


def test_what_an_attempt_before_had_under_way_is_not_shown_of_the_next(site: NeoSite) -> None:
    kill_in_the_middle(site, num_recorded=1)
    run = the_run(site)
    site.neo("status")
    assert run.begin_attempt(decide(run.request, run.store), "here") == 2
    tell(run, 2, StepStarted(step="pairs"))
    state = RunStatus(run).board.steps["pairs"]
    assert (state.status, state.phase, state.num_parts) == ("running", "", 0)


def test_rate_and_end_of_a_training_are_those_of_the_attempt_that_goes_on() -> None:
    clock = iter([100.0] * 3 + [110.0] * 99)
    board = Scoreboard({"mid": 40}, lambda: next(clock))
    board.take(StepStarted(step="mid"))
    board.take(NumbersReported(step="mid", numbers={"loss": 1.0}, at_step=20))
    board.take(CheckpointCommitted(step="mid", at_step=20))
    board.take(NumbersReported(step="mid", numbers={"loss": 1.0}, at_step=25))
    state = board.steps["mid"]
    assert board.rate(state) == "0.5 steps/s" and board.seconds_left(state) == 30.0
    assert board.commit_age_seconds(state) == 10.0
    state.pause()
    assert board.seconds_left(state) is None and state.status == "interrupted"
    board.take(StepEnded(step="mid", outcome="committed"))
    assert board.seconds_left(state) is None


def busy(site: NeoSite, *events) -> Run:
    """A run whose second attempt is alive, and has told these events."""
    site.neo("run", f"{TOYS}:broken_data")
    run = the_run(site)
    assert run.begin_attempt(decide(run.request, run.store), "here") == 2  # in this process, so it lives
    tell(run, 2, StepStarted(step="kept"), *events)
    return run


def counts(number: int) -> list[NumbersReported]:
    numbers = {"judge/parts": float(number), "judge/kept": 5.0 * number, "judge/dropped": 0.0, "judge/failed": 0.0}
    return [NumbersReported(step="kept", at_step=number, numbers=numbers)]


def test_a_status_reads_as_much_of_a_long_run_as_of_a_short_one(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    run, told = busy(site), []
    for first, last in ((0, 50), (50, 500)):
        fill_outbox(run, [counts(number) for number in range(first, last)], 2)
        with counted(monkeypatch) as requests:
            state = RunStatus(run).board.steps["kept"]
        assert (state.status, state.num_recorded, state.items.kept) == ("running", last - 1, 5 * (last - 1))
        told.append(sum("read " in request and "/outbox/" in request for request in requests))
    assert told == [32, 32]


def test_messages_are_read_back_to_the_last_commit_of_each_step_that_runs(site: NeoSite) -> None:
    run = busy(site, PhaseOpened(step="kept", phase="judge", num_parts=9, num_recorded=3))
    unrelated = [WarningPosted(step="pairs", message="something")]
    fill_outbox(run, [unrelated] * 100, 2)
    state = RunStatus(run).board.steps["kept"]
    assert (state.phase, state.num_recorded, state.num_parts) == ("judge", 3, 9)


def test_a_checkpoint_that_the_store_does_not_take_is_told_to_every_machine(site: NeoSite) -> None:
    run = busy(site)
    delayed = CheckpointDelayed(step="kept", at_step=40, why="rank 3: it is away", at_seconds=1.0)
    fill_outbox(run, [[delayed], *[[WarningPosted(step="pairs", message="something")]] * 100], 2)
    assert re.search(
        r"^kept keeps the checkpoint at step 40 in memory since \d\d:\d\d:\d\d and .* rank 3: it is away$",
        site.neo("status").out, re.MULTILINE,
    )  # fmt: skip
    assert "the checkpoint at step 40 in memory" in steps(site.neo("status", "--json").json)["kept"]["waits"]


def test_what_a_step_is_busy_with_is_told_to_every_machine(site: NeoSite) -> None:
    run = busy(site, StepBusy(step="kept", doing="starting 2 ranks"))
    assert re.search(r"^kept +running +starting 2 ranks ", site.neo("status").out, re.MULTILINE)
    assert steps(site.neo("status", "--json").json)["kept"]["busy"] == "starting 2 ranks"
    fill_outbox(run, [counts(3)], 2)
    assert steps(site.neo("status", "--json").json)["kept"]["busy"] == ""


def test_a_run_that_is_done_keeps_its_times_however_much_it_told_afterwards(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.neo("run", DATA)
    before = {name: step["seconds"] for name, step in steps(site.neo("status", "--json").json).items()}
    later = [WarningPosted(step="rows", message="something")]
    fill_outbox(the_run(site), [later] * 600, 1)
    with counted(monkeypatch) as requests:
        status = RunStatus(the_run(site))
    assert {name: state.seconds for name, state in status.board.steps.items()} == before
    assert all(before.values()) and sum("read " in one and "/outbox/" in one for one in requests) <= 32


def test_a_step_that_was_interrupted_says_what_it_holds(site: NeoSite) -> None:
    kill_in_the_middle(site, num_recorded=2)
    assert re.search(r"^pairs +interrupted +holds 2 of 3 parts", site.neo("status").out, re.MULTILINE)


def test_what_waits_for_machines_is_told_to_every_machine_however_long_it_waits(site: NeoSite) -> None:
    asked = MachinesAwaited(step="kept", asked="8 ranks of 1 GPU", has="the cluster has 4 GPUs", at_seconds=1.0)
    awaited, run = AwaitedMachines(), busy(site)
    fill_outbox(run, [awaited.told_again([asked] if number == 0 else counts(number)) for number in range(200)], 2)
    assert "8 ranks of 1 GPU; the cluster has 4 GPUs" in steps(site.neo("status", "--json").json)["kept"]["waits"]
    assert re.search(
        r"^kept waits since \d\d:\d\d:\d\d for 8 ranks of 1 GPU; the", site.neo("status").out, re.MULTILINE
    )
    fill_outbox(run, [awaited.told_again([MachinesAwaited(step="kept", asked="")]), counts(200)], 2)
    assert steps(site.neo("status", "--json").json)["kept"]["waits"] == ""
    assert all(not awaited.told_again([]) for _ in range(20))


def test_a_takedown_after_the_plan_is_told_of_a_run_that_is_not_done(site: NeoSite, tmp_path: Path) -> None:
    listed, broken = tmp_path / "list.txt", f"{TOYS}:broken_data"
    listed.write_text("https://nobody.example/1.jpg\n")
    assert site.neo("takedown", str(listed), "--record").code == 0
    assert site.neo("run", broken).code == 1
    assert site.neo("status", "--json").json["later_takedowns"] == []
    assert "Takedown" not in site.neo("status").out
    for number in (2, 3):
        listed.write_text(f"https://nobody.example/{number}.jpg\n")
        assert site.neo("takedown", str(listed), "--record").code == 0
        assert site.neo("status", "--json").json["later_takedowns"] == list(range(2, number + 1))
    line = (
        "Takedowns 2, 3 were recorded after this run was planned, which ends by its plan. "
        f"Then this makes again what holds something of it: neo run {broken}"
    )
    assert line in " ".join(site.neo("status").out.split())
    assert line in " ".join(site.neo("resume").out.split())
    assert site.neo("run", DATA).code == 0
    listed.write_text("https://nobody.example/4.jpg\n")
    assert site.neo("takedown", str(listed), "--record").code == 0
    assert "Takedown" not in site.neo("status", "data").out
