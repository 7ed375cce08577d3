"""Messages are kept in the store until they are taken, in order, whoever dies."""

import math
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.runs.outbox import MAX_EVENTS_PER_MESSAGE, EventWriter, Message, Outbox, PhaseCounts, to_message
from stages.artifacts.records import ItemBalance
from stages.contract import NumbersReported, PartProgress, PartRecorded, PhaseOpened, StepEnded, StepStarted
from stages.store.store import Store
from tests.pipelines.running.test_execute_run import wait_until


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(Store(tmp_path), "run")


def test_messages_wait_in_order_until_they_are_marked(outbox: Outbox) -> None:
    keys = [outbox.append(Message(kind="events", attempt=number)) for number in range(12)]
    assert list(outbox.pending()) == keys
    outbox.mark_sent(keys[0])
    assert list(outbox.pending()) == keys[1:]
    assert [outbox.read(key).attempt for key in keys] == list(range(12))


def test_many_writers_at_once_lose_nothing(outbox: Outbox) -> None:
    def write(number: int) -> None:
        for _ in range(10):
            outbox.append(Message(kind="events", attempt=number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [outbox.read(key).attempt for key in outbox.pending()]
    assert sorted(found) == sorted(list(range(4)) * 10)


def test_a_writer_keeps_what_it_was_given_and_coalesces_parts(outbox: Outbox) -> None:
    writer = EventWriter(outbox, attempt=1)
    writer.post(StepStarted(step="pairs"))
    writer.post(PhaseOpened(step="pairs", phase="fetch", num_parts=5, num_recorded=2, items=ItemBalance(kept=20)))
    for number in range(3):
        writer.post(PartProgress(step="pairs", phase="fetch", part=str(number), num_done=1))
        items = ItemBalance(kept=9, failed={"not_found": 1})
        writer.post(PartRecorded(step="pairs", phase="fetch", part=str(number), items=items))
    writer.post(StepEnded(step="pairs", outcome="committed"))
    writer.close()
    events = [event for key in outbox.pending() for event in outbox.read(key).events]
    assert [event.event for event in events] == ["started", "numbers", "phase", "ended"]
    counted = events[1]
    assert counted.at_step == 5
    assert counted.numbers == {"fetch/parts": 5, "fetch/kept": 47, "fetch/dropped": 0, "fetch/failed": 3}


def test_posting_does_not_wait_for_a_store_that_refuses_and_nothing_is_lost(outbox: Outbox, monkeypatch) -> None:
    refusals = iter([True, True, False])
    append = outbox.append

    def refuse_twice(message: Message) -> str:
        if next(refusals, False):
            raise OSError("the disk is gone")
        return append(message)

    monkeypatch.setattr(outbox, "append", refuse_twice)
    writer = EventWriter(outbox, attempt=1)
    for name in ("a", "b", "c"):
        writer.post(StepEnded(step=name, outcome="committed"))
    writer.close()
    steps = [event.step for key in outbox.pending() for event in outbox.read(key).events]
    assert steps == ["a", "b", "c"]


def test_what_is_not_finite_is_told_in_words() -> None:
    event = NumbersReported(step="mid", numbers={"loss": math.nan, "grad": math.inf, "rate": 0.1}, at_step=7)
    message = to_message([event], attempt=1, counts=PhaseCounts())
    assert message.events[0].numbers == {"rate": 0.1}
    assert message.non_finite == {"mid": {"loss": "nan at step 7", "grad": "inf at step 7"}}
    assert Message.model_validate_json(message.model_dump_json(by_alias=True)) == message


class CountingStore(Store):
    """Counts how often it is asked."""

    num_questions = 0

    def size_bytes(self, key: str) -> int | None:
        self.num_questions += 1
        return super().size_bytes(key)

    def keys(self, prefix: str) -> Iterator[str]:
        raise AssertionError(f"{prefix} was listed")


def test_a_long_outbox_costs_no_more_than_a_short_one(tmp_path: Path) -> None:
    store = CountingStore(tmp_path)
    outbox = Outbox(store, "run")
    for number in range(300):
        outbox.append(Message(kind="events", attempt=number))
    assert store.num_questions < 10
    for key in outbox.pending():
        outbox.mark_sent(key)
    store.num_questions = 0
    outbox.append(Message(kind="events", attempt=300))
    (last,) = outbox.pending()
    assert outbox.read(last).attempt == 300
    assert outbox.num_pending() == 1
    assert store.num_questions < 50


def test_what_waits_for_the_tracker_waits_in_the_store_and_not_in_memory(outbox: Outbox) -> None:
    writer = EventWriter(outbox, attempt=1)
    traced_bytes = []
    tracemalloc.start()
    for round_ in range(1, 9):
        for number in range(MAX_EVENTS_PER_MESSAGE - 1):
            writer.post(NumbersReported(step="mid", numbers={"loss": 1.5, "rate": 0.1}, at_step=number))
        writer.post(StepStarted(step="mid"))
        wait_until(lambda: outbox.num_messages() == round_)  # noqa: B023
        traced_bytes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    writer.close()
    assert traced_bytes[-1] < traced_bytes[1] + 200_000, traced_bytes
