"""`neo cancel` asks, waits and changes nothing twice; what it leaves goes on; a dead run is said to be dead at once."""

import pipelines.commands.cancel
from stages.commit.heartbeat import Heartbeat
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import kill_in_the_middle, the_run, wait_until
from tests.pipelines.runs.test_resume import elsewhere

DATA = f"{TOYS}:data"


def recorded(site: NeoSite) -> int:
    return len(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json")))


def test_a_cancelled_run_stops_after_a_commit_and_can_be_resumed(site: NeoSite) -> None:
    slow = ("--set", "pairs.pause_seconds=3", "--set", "pairs.num_parts=2")
    driver = site.start("run", DATA, *slow)
    wait_until(lambda: recorded(site) == 1)
    said = site.neo("cancel", "data")
    out, _ = driver.communicate(timeout=60)
    assert said.code == 0 and "Asked attempt 1 on" in said.out and ": interrupted, attempt 1" in said.out, said
    assert said.last_line == f"Next: neo resume {the_run(site).name} --site {site.file}"
    assert driver.returncode == 75 and "Asked to stop by `neo cancel`" in out
    assert recorded(site) == 2
    assert site.neo("resume").code == 0 and the_run(site).state() == "done"


def test_cancel_may_be_typed_twice_and_need_not_wait(site: NeoSite) -> None:
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: recorded(site) == 1)
    first, second = site.neo("cancel", "data", "--no-wait"), site.neo("cancel", "data", "--no-wait")
    driver.kill()
    driver.communicate()
    assert first.code == second.code == 0
    assert "Asked attempt 1" in first.out and "Had already asked attempt 1" in second.out
    assert first.last_line.startswith("Next: neo status data-")


def test_a_dead_run_is_finalised_at_once(site: NeoSite) -> None:
    kill_in_the_middle(site, num_recorded=1)
    said = site.neo("cancel", "data")
    assert said.code == 0 and "is not under way, there is nothing to stop" in said.out
    assert the_run(site).end(1).outcome == "killed"
    assert said.last_line.startswith("Next: neo resume data-")


def test_a_run_that_is_out_of_contact_is_asked_and_counts_as_dead_in_the_end(site: NeoSite, monkeypatch) -> None:
    kill_in_the_middle(site, num_recorded=1)
    elsewhere(the_run(site), 1)
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "1")
    said = site.neo("cancel", "data")
    assert said.code == 0 and "Asked attempt 1 on far-away" in said.out
    assert the_run(site).end(1).outcome == "killed" and ": killed, attempt 1 on far-away" in said.out


def test_a_run_that_is_done_is_left_alone(site: NeoSite) -> None:
    site.neo("run", DATA)
    said = site.neo("cancel", "data")
    assert said.code == 0 and said.last_line.startswith("Next: neo show data/rows")
    assert not the_run(site).is_stop_requested(1)


def test_a_driver_of_this_machine_that_does_not_stop_is_ended_after_the_grace_period(site: NeoSite) -> None:
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: recorded(site) == 1)
    said = site.neo("cancel", "data", "--grace", "1")
    driver.communicate(timeout=60)
    assert said.code == 0 and f"No answer for 1 s: ending process {the_run(site).attempt(1).process_id}." in said.out
    assert ": interrupted, attempt 1" in said.out and driver.returncode == 75
    assert site.neo("resume").code == 0 and the_run(site).state() == "done"


def test_waiting_for_a_run_elsewhere_that_does_not_stop_ends_too(site: NeoSite, monkeypatch) -> None:
    kill_in_the_middle(site, num_recorded=1)
    run = the_run(site)
    elsewhere(run, 1)
    monkeypatch.setattr(pipelines.commands.cancel, "STOP_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(pipelines.commands.cancel, "lost_after_seconds", lambda: 0.0)
    heartbeat = Heartbeat(run.store, run.heartbeat_key(1))
    said = site.neo("cancel", "data", "--grace", "0")
    heartbeat.stop()
    assert said.code == 1 and "on far-away cannot be ended from here" in said.out
    assert "It has not stopped in 1 s." in said.out and said.last_line.startswith("Next: neo status data-")
