"""Claims: one makes, others wait and say so, take over from the dead, and whoever was overtaken stops."""

import threading
import time
from pathlib import Path

import pytest

from stages.commit.attempt import AttemptId
from stages.commit.claims import Claim, Claimant, ClaimHeldError, ClaimRecord, delete_claims
from stages.commit.heartbeat import LOST_AFTER_VARIABLE, ProcessMark
from stages.contract import Event, InterruptedRunError, SupersededError
from stages.store.store import Store

FOLDER = "artifacts/toy/0123456789ab"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "store" if request.param == "folder" else request.getfixturevalue("bucket") + "/team")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that stands still for so long is lost, and everybody beats and looks ten times in it."""
    monkeypatch.setenv(LOST_AFTER_VARIABLE, "1")


def claimant(store: Store, attempt: str) -> Claimant:
    return Claimant(store, FOLDER, step="pairs", attempt=AttemptId.parse(attempt))


def never() -> bool:
    return False


def left_by(store: Store, attempt: str, **mark: object) -> None:
    """A claim of somebody who neither beats nor released it."""
    record = ClaimRecord(run=attempt.rpartition("-")[0], attempt=attempt, **ProcessMark.here() | mark)
    assert store.create_json(f"{FOLDER}/claims/0.json", record.model_dump(mode="json"))


def record(store: Store, number: int) -> ClaimRecord:
    return ClaimRecord.model_validate(store.read_json(f"{FOLDER}/claims/{number}.json"))


def taken(store: Store, attempt: str) -> Claim:
    """Claim and release; raises where somebody was waited for."""
    events: list[Event] = []
    with claimant(store, attempt).claim(events.append, never, never) as claim:
        assert claim is not None
    assert events == []
    return claim


def test_a_claim_is_released_however_the_step_ends_and_the_next_begins_at_once(store: Store) -> None:
    with pytest.raises(ValueError, match="the stage broke"), claimant(store, "a-1").claim(print, never, never):
        raise ValueError("the stage broke")
    assert taken(store, "b-1").number == 1
    assert taken(store, "b-2").number == 2
    assert record(store, 2).took_over == ""


def test_one_of_many_holds_it_at_a_time_and_nobody_is_left_out(store: Store) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(attempt: str) -> None:
        with claimant(store, attempt).claim(lambda event: None, never, never):
            inside.append(attempt)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(attempt)

    threads = [threading.Thread(target=work, args=(f"run{number}-1",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_whoever_waits_says_for_whom_once_and_ends_when_it_is_made(store: Store) -> None:
    events: list[Event] = []
    looks = iter([False, False, False, True])
    with claimant(store, "first-7").claim(print, never, never):
        waiting = claimant(store, "second-1").claim(events.append, never, lambda: next(looks))
        with waiting as claim:
            assert claim is None
    assert [(event.event, event.holder) for event in events] == [("waiting", "attempt 7 of run first")]
    assert store.read(f"{FOLDER}/claims/1.json") is None


def test_a_request_to_stop_ends_the_wait(store: Store) -> None:
    with claimant(store, "first-1").claim(print, never, never):
        with pytest.raises(InterruptedRunError, match="stopped while it waited for attempt 1 of run first"):
            with claimant(store, "second-1").claim(lambda event: None, lambda: True, never):
                pass


def test_a_holder_that_beats_is_waited_for_however_long(store: Store) -> None:
    order: list[str] = []

    def wait() -> None:
        with claimant(store, "second-1").claim(lambda event: None, never, never):
            order.append("second")

    with claimant(store, "first-1").claim(print, never, never):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(2.5)  # more than twice of what a dead one is waited for
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ({"process_started_ticks": 1}, "the process of attempt 1 of run dead is gone"),
        ({"machine": "another"}, "attempt 1 of run dead had no heartbeat for 1 s"),
    ],
    ids=["gone", "silent"],
)
def test_a_dead_holders_claim_is_taken_over(store: Store, mark: dict[str, object], why: str) -> None:
    left_by(store, "dead-1", **mark)
    events: list[Event] = []
    started = time.monotonic()
    with claimant(store, "heir-1").claim(events.append, never, never) as claim:
        waited_seconds = time.monotonic() - started
    assert claim is not None and claim.number == 1
    assert record(store, 1).took_over == why
    if "gone" in why:
        assert events == []
    else:
        assert len(events) == 1 and waited_seconds >= 1


def test_an_attempt_whose_own_process_died_begins_its_step_again_at_once(store: Store) -> None:
    left_by(store, "run-3", machine="another")
    assert taken(store, "run-3").number == 1


def test_whoever_was_overtaken_learns_it_at_its_next_commit(store: Store) -> None:
    left_by(store, "slow-1", machine="another")
    claim = Claim(store, FOLDER, 0)
    claim.check("pairs")
    with claimant(store, "slow-2").claim(lambda event: None, never, never):
        with pytest.raises(SupersededError, match="step 'pairs': superseded by attempt 2 of run slow;"):
            claim.check("pairs")


def test_a_torn_claim_keeps_nobody_waiting(store: Store) -> None:
    store.create(f"{FOLDER}/claims/0.json", b'{"host": "fa')
    assert taken(store, "run-1").number == 1


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_claims_stay_where_one_is_taken_while_they_are_deleted(store: Store, is_before: bool) -> None:
    for number in range(3):
        assert taken(store, f"old-{number}").number == number
    late: list[Claim] = []

    def delete(key: str) -> None:
        if not is_before:
            store.delete(key)
        if key.endswith("claims/2.json"):
            late.append(taken(store, "late-1"))
        store.delete(key) if is_before else None

    delete_claims(store, FOLDER, 2, delete)
    assert [claim.number for claim in late] == [3]
    assert [store.size_bytes(f"{FOLDER}/claims/{number}.json") is not None for number in range(5)] == [True] * 4 + [
        False
    ]
    assert taken(store, "next-1").number == 4
    delete_claims(store, FOLDER, 3, store.delete)
    assert taken(store, "next-2").number == 5, "there was a newer one"


def test_an_attempt_that_saw_claims_which_were_deleted_takes_the_first(store: Store) -> None:
    asks = claimant(store, "waits-1")
    with asks.claim_of_ended() as first, pytest.raises(ClaimHeldError):
        claimant(store, "other-1").claim_of_ended().__enter__()
    delete_claims(store, FOLDER, first.number, store.delete)
    assert not list(store.keys(f"{FOLDER}/claims/"))
    asks._num_claims = 1  # as of one that waited
    with asks.claim_of_ended() as claim:
        assert claim.number == 0
    assert [key for key in store.keys(f"{FOLDER}/claims/") if key.endswith(".json")] == [f"{FOLDER}/claims/0.json"]
