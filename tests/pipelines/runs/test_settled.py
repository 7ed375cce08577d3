"""Commands read no more of finished runs than a mark and a request each, and a mark is never believed wrongly."""

from pathlib import Path

import pytest

from pipelines.planning.plan import decide
from pipelines.planning.request import Request
from pipelines.runs.attempts import end_attempt, reconcile, settle
from pipelines.runs.in_brief import runs_in_brief
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.resume import newest_run
from pipelines.runs.run import Run, open_run
from pipelines.runs.settled import Settled, settled_runs
from stages.store.metadata import open_store
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.pipelines.runs.many_runs import counted, finished_run

TOY = Request(pipeline="toy", request="toy", targets=(), steps=())
MARK = Settled(num_attempts=2, num_messages=57, outcome="failed", begun_milliseconds=1764480000123, may_be_late=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def states(store: Store) -> dict[str, tuple[str, int]]:
    return {one.run.name: (one.state, one.num_attempts) for one in runs_in_brief(store)}


def deliver_all(run: Run) -> None:
    outbox = Outbox(run.store, run.name)
    for key in list(outbox.pending()):
        outbox.mark_sent(key)


def test_a_mark_is_spelled_and_read_back() -> None:
    assert MARK.name == "2.failed.57.1764480000123"
    late = Settled(2, 57, "killed", 1764480000123, may_be_late=True)
    assert [Settled.parse(mark.name) for mark in (MARK, late)] == [MARK, late]
    assert Settled.parse("notes.txt") is None


def test_a_run_with_an_open_attempt_or_a_message_to_deliver_is_not_settled(store: Store) -> None:
    run = finished_run(store, "toy-1", is_settled=False)
    number = run.begin_attempt(decide(TOY, store), "here")
    settle(run)
    assert settled_runs(store) == {}
    end_attempt(run, number, "failed", "because")
    settle(run)
    assert settled_runs(store) == {}
    deliver_all(run)
    settle(run)
    assert settled_runs(store)["toy-1"].num_attempts == 2


def test_a_next_attempt_refutes_the_mark_even_if_it_dies_at_once(store: Store) -> None:
    run = finished_run(store, "toy-1")
    assert states(store) == {"toy-1": ("failed", 1)}
    run.begin_attempt(decide(TOY, store), "here")
    assert settled_runs(store) == {}
    assert states(store) == {"toy-1": ("running", 2)}


def test_what_a_driver_taken_for_dead_leaves_later_is_delivered(store: Store) -> None:
    run = open_run(store, TOY)
    number = run.begin_attempt(decide(TOY, store), "here")
    end_attempt(run, number, "killed", "no heartbeat for 60 s")
    deliver_all(run)
    settle(run)
    assert settled_runs(store)[run.name].may_be_late
    Outbox(store, run.name).append(Message(kind="events", attempt=number))
    assert settled_runs(store) == {}
    assert [one.name for one in reconcile(store)] == [run.name]
    deliver_all(run)
    settle(run)
    assert settled_runs(store)[run.name].num_messages == 2


def test_a_run_whose_folder_was_deleted_by_hand_loses_its_mark(store: Store) -> None:
    run = finished_run(store, open_run(store, TOY).name)
    assert settled_runs(store)
    for key in list(store.keys(f"{run.folder}/")):
        store.delete(key)
    again = open_run(store, TOY)
    again.begin_attempt(decide(TOY, store), "here")
    assert states(store) == {run.name: ("running", 1)}


def test_only_commands_that_write_mark_the_runs_of_an_old_store(site: NeoSite) -> None:
    open_store(site.store)
    finished_run(site.store, "toy-1", is_settled=False)
    assert site.neo("status").code == site.neo("show", "toy-1").code == site.neo("list").code == 0
    assert list(site.store.keys("settled/")) == []
    reconcile(site.store, settles=True)
    assert list(settled_runs(site.store)) == ["toy-1"]


def test_the_newest_run_is_found_among_settled_and_others(store: Store) -> None:
    finished_run(store, "toy-3")
    finished_run(store, "toy-1", is_settled=False)
    newest = finished_run(store, "toy-2")
    assert newest_run(store) == newest_run(store, unfinished=True) == newest


@pytest.mark.parametrize("words", [("list",), ("show", "busy"), ("status", "busy"), ("logs", "busy")])
def test_a_finished_run_costs_each_command_one_request(
    site: NeoSite, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two where the command also asks which run is the newest."""
    open_store(site.store)
    finished_run(site.store, "busy")
    numbers = []
    for num_runs in (20, 60):
        for number in range(num_runs):
            if not (site.folder / f"store/runs/toy-{number}").exists():
                finished_run(site.store, f"toy-{number}")
        with counted(monkeypatch) as requests:
            said = site.neo(*words)
        assert said.code == 0, said
        numbers.append(len(requests))
    assert numbers[1] - numbers[0] == 40
