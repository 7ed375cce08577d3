"""Who is dead: known of this machine's own processes, and of others only by a counter, on the observer's own clock."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.commit.heartbeat import (
    BEAT_SECONDS,
    LOST_AFTER_SECONDS,
    LOST_AFTER_VARIABLE,
    Heartbeat,
    Observer,
    ProcessMark,
)
from stages.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def of_another_machine() -> ProcessMark:
    return ProcessMark(**ProcessMark.here() | {"machine": "another"})


class Clock:
    """A clock that the test winds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def watch(observer: Observer, clock: Clock, seconds: float) -> None:
    """Look at the counter at every beat."""
    for _ in range(round(seconds / BEAT_SECONDS)):
        clock.seconds += BEAT_SECONDS
        observer.look("beat")


def test_this_process_is_there_and_one_that_ended_is_gone() -> None:
    here = ProcessMark(**ProcessMark.here())
    assert here.is_of_this_machine and not here.is_gone
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    mark = here.model_copy(update={"process_id": child.pid, "process_started_ticks": ticks})
    assert not mark.is_gone
    child.kill()
    wait_until(lambda: mark.is_gone)  # a zombie that nobody has asked after counts as gone
    child.wait()
    assert mark.is_gone


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_later_process_with_the_same_number_is_another() -> None:
    here = ProcessMark(**ProcessMark.here())
    assert here.process_id == os.getpid()
    assert here.model_copy(update={"process_started_ticks": here.process_started_ticks - 1}).is_gone


def test_of_another_machine_nothing_is_known_at_first() -> None:
    mark = of_another_machine().model_copy(update={"process_id": 2**22})
    assert not mark.is_gone


def test_a_counter_that_moves_is_alive_and_one_that_stands_still_is_lost(store: Store) -> None:
    clock, mark = Clock(), of_another_machine()
    observer = Observer(store, clock)
    store.overwrite("beat", b"1")
    assert observer.look("beat").life_of(mark) == "unknown"
    store.overwrite("beat", b"2")
    clock.seconds += BEAT_SECONDS
    seen = observer.look("beat")
    assert (seen.life_of(mark), seen.age_seconds) == ("alive", 0.0)
    watch(observer, clock, LOST_AFTER_SECONDS - 2 * BEAT_SECONDS)
    assert observer.look("beat").life_of(mark) == "alive"
    watch(observer, clock, 2 * BEAT_SECONDS)
    seen = observer.look("beat")
    assert (seen.life_of(mark), seen.age_seconds) == ("dead", LOST_AFTER_SECONDS)
    store.overwrite("beat", b"3")
    assert observer.look("beat").life_of(mark) == "alive"


def test_a_counter_that_was_never_raised_is_lost_as_well(store: Store) -> None:
    clock = Clock()
    observer = Observer(store, clock)
    assert observer.look("beat").life_of(of_another_machine()) == "unknown"
    watch(observer, clock, LOST_AFTER_SECONDS)
    assert observer.look("beat").life_of(of_another_machine()) == "dead"


def test_time_in_which_nobody_looked_does_not_count(store: Store) -> None:
    clock = Clock()
    observer = Observer(store, clock)
    observer.look("beat")
    clock.seconds += 24 * 3600  # the observer itself was stopped, or the store was away for both
    assert observer.look("beat").life_of(of_another_machine()) == "unknown"


def test_a_process_of_this_machine_that_is_stopped_is_lost_in_the_end(store: Store) -> None:
    clock, mark = Clock(), ProcessMark(**ProcessMark.here())
    observer = Observer(store, clock)
    assert observer.look("beat").life_of(mark) == "alive"
    watch(observer, clock, LOST_AFTER_SECONDS)
    assert observer.look("beat").life_of(mark) == "dead"


def test_a_heart_beats_until_it_is_stopped_whatever_goes_wrong_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOST_AFTER_VARIABLE, "0.1")
    called: list[int] = []

    def fail() -> None:
        called.append(1)
        raise OSError("the store is away")

    heart = Heartbeat(store, "beat", fail)
    wait_until(lambda: len(called) > 3)
    assert int(store.read("beat") or b"0") > 3
    heart.stop()
    last = store.read("beat")
    time.sleep(0.1)
    assert store.read("beat") == last
