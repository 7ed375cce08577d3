"""The history of a run: what is kept is bounded however long it ran, and is what its messages tell."""

import pytest

from pipelines.report import history
from pipelines.report.history import MAX_POINTS, Curve, read_history
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import Run
from stages.contract import MachinesAwaited, NumbersReported, StepEnded, StepStarted, StepWaiting, WarningPosted
from stages.store.store import Store


@pytest.mark.parametrize("num_points", [10, MAX_POINTS + 1, 50_000])
def test_a_curve_keeps_its_ends_and_no_more_than_its_bound(num_points: int) -> None:
    curve = Curve()
    for step in range(num_points):
        curve.add(step, float(step))
    drawn = curve.drawn
    assert len(drawn) <= MAX_POINTS + 1
    assert (drawn[0], drawn[-1]) == ((0, 0.0), (num_points - 1, num_points - 1.0))
    assert [step for step, _ in drawn] == sorted(step for step, _ in drawn)
    assert curve.largest == num_points - 1


def test_steps_that_are_taken_again_after_a_resume_replace_the_first_ones() -> None:
    curve = Curve()
    for step, value in [(1, 5.0), (2, 4.0), (3, 9.0), (2, 3.0), (3, 2.0), (4, float("nan"))]:
        curve.add(step, value)
    assert curve.drawn == [(1, 5.0), (2, 3.0), (3, 2.0)]


def told(store: Store, *messages: Message) -> history.History:
    outbox = Outbox(store, "toy-1")
    for message in messages:
        outbox.append(message)
    return read_history(Run(store, "toy-1"))


def test_waits_work_and_attempts_are_told_apart(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MESSAGES_AT_A_TIME", 2)
    first = [
        StepWaiting(step="a", holder="run other", host="h", at_seconds=10),
        StepStarted(step="a", at_seconds=15),
        MachinesAwaited(step="a", asked="8 GPUs", at_seconds=20),
        MachinesAwaited(step="a", asked="8 GPUs", at_seconds=25),
        MachinesAwaited(step="a", asked="", at_seconds=30),
        WarningPosted(step="a", message="slow", at_seconds=32),
    ]
    second = [
        StepStarted(step="a", at_seconds=60),
        NumbersReported(step="a", numbers={"loss": 2.0}, at_step=1, at_seconds=65),
        StepEnded(step="a", outcome="committed", at_seconds=70),
    ]
    found = told(
        Store(tmp_path),
        Message(kind="attempt_started", attempt=1, at_seconds=5),
        Message(kind="events", attempt=1, at_seconds=33, events=tuple(first)),
        Message(kind="attempt_ended", attempt=1, at_seconds=40, outcome="killed", reason="gone"),
        Message(kind="attempt_started", attempt=2, at_seconds=50),
        Message(kind="events", attempt=2, at_seconds=71, events=tuple(second)),
        Message(kind="attempt_ended", attempt=2, at_seconds=80, outcome="done"),
    )
    step = found.steps["a"]
    assert [(span.attempt, span.doing, span.begin_seconds, span.end_seconds, span.outcome) for span in step.spans] == [
        (1, "waiting", 10, 15, ""),
        (1, "working", 15, 20, ""),
        (1, "queued", 20, 30, ""),
        (1, "working", 30, 33, "killed"),
        (2, "working", 60, 70, "committed"),
    ]
    assert (step.working_seconds, step.waiting_seconds, step.outcome) == (18, 15, "committed")
    assert found.attempts == {1: (5, 33), 2: (50, 80)}
    assert {number: end.outcome for number, end in found.ends.items()} == {1: "killed", 2: "done"}
    assert found.warnings == [(32, "a", "slow")] and found.num_messages == 6


def test_of_many_stretches_the_first_are_kept_and_the_others_counted(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_SPANS", 5)
    events = tuple(StepStarted(step="a", at_seconds=number) for number in range(20))
    found = told(Store(tmp_path), Message(kind="events", attempt=1, at_seconds=99, events=events))
    assert (len(found.steps["a"].spans), found.steps["a"].num_more_spans) == (5, 15)
