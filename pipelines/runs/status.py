"""The status of a run, read from the store on any machine: what is committed, what is running, whether it is alive.

Committed work comes from the records, speed and progress from the driver's events, liveness from heartbeats. Ages of
events are differences of two machines' clocks: they are shown, and decide nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pipelines.planning.plan import Plan, decide
from pipelines.runs.feed import Feed, StepRecord, is_commit, is_count, read_step_records
from pipelines.runs.outbox import Message, read_phase_counts
from pipelines.runs.run import Run, RunState, Standing
from pipelines.runs.submissions import Submission, Submissions
from pipelines.screen.progress import Scoreboard, StepState
from stages.artifacts.manifest import artifact_folder
from stages.commit.attempt import AttemptId
from stages.commit.heartbeat import Observer, beat_seconds
from stages.contract import Event, MachinesAwaited, NumbersReported, PhaseOpened, StepEnded, StepStarted, StepWaiting
from stages.store.store import Store

SECONDS_BETWEEN_LOOKS = 0.25
"""Pause between two looks at a heartbeat that shows whether a driver is alive."""
NUM_BEATS_TO_WATCH = 3
"""Beats for which the heartbeat of a driver on another machine is watched before its state is shown as unknown."""
ATTEMPT_NAME = re.compile(r".+-[1-9][0-9]*")
OVER = ("committed", "reused")
"""States of a step that has its artifact."""


@dataclass
class EventClock:
    """A clock for the scoreboard: the time of the event being read from the store; between events, the time now."""

    at_seconds: float | None = None

    def __call__(self) -> float:
        return time.time() if self.at_seconds is None else self.at_seconds


class RunStatus:
    """The status of one run, brought up to date by `refresh`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.observer = Observer(run.store)
        request = run.request
        with ThreadPoolExecutor(1) as beside:  # each takes round trips of its own
            planning = beside.submit(decide, request, run.store)
            self.standing: Standing = run.standing(self.observer)  # with the first look at heartbeats
            """The attempts and their ends, as last read."""
            self.plan: Plan = planning.result()
        self.clock = EventClock()
        self.board = Scoreboard({step.name: step.num_steps for step in run.request.steps}, self.clock)
        self.made_by = {step: str(made.provenance.get("attempt", "")) for step, made in self.plan.manifests.items()}
        """Step to the attempt that committed it or is executing it, such as `tiny-3f2a9c01-2`."""
        self.listeners: list[Callable[[Event], None]] = []
        """Functions that are called with every event, after the board has taken it."""
        self.waiting: Submission | None = None
        """A pending submission: handed to the cluster, and no attempt was begun for it yet."""
        self.recorded = _records_of_ended_steps(run.store, self.made_by)
        """How the committed steps of this run went, by name; without those of which no record is kept."""
        self._feed = Feed(run, partial(_shows_all_steps, self))
        self._last_start_read = 0  # number of the last attempt whose start is among the messages read
        self._seed()
        self.refresh()
        if self.is_over:
            self._seed()  # a driver that died may have committed more than its last events report
        elif self._last_start_read != self.attempt:
            self._start_ready_steps()

    @property
    def state(self) -> RunState:
        """The state of the run, as last read."""
        return self.standing.state

    @property
    def attempt(self) -> int:
        """Number of the last attempt; 0 if there is none."""
        return self.standing.num_attempts

    @property
    def is_over(self) -> bool:
        """Whether no attempt is running, out of contact or pending."""
        return self.state not in ("running", "unknown") and self.waiting is None

    @property
    def heartbeat_age_seconds(self) -> float | None:
        """Seconds since the last attempt's heartbeat was seen to move; None if it was not, or the attempt has ended."""
        ages = [one.heartbeat_age_seconds for one in self.standing.open if one.record.number == self.attempt]
        return ages[0] if ages else None

    def refresh(self) -> None:
        """Read the state, and the events since the last call."""
        self.standing = self.run.standing(self.observer)
        self.waiting = None if self.state == "running" else Submissions(self.run).waiting()
        for message in self._feed.read():
            with self.board.lock:
                self._take(message)
        if self.is_over:
            self._pause_all()

    def watch_for_a_beat(self) -> None:
        """Watch the heartbeat of a driver on another machine for a few beats, which show whether it is alive."""
        deadline_seconds = time.monotonic() + NUM_BEATS_TO_WATCH * beat_seconds()
        while self.state == "unknown" and time.monotonic() < deadline_seconds:
            keys = [self.run.heartbeat_key(one.record.number) for one in self.standing.open]
            if any(self.observer.look(key).age_seconds is not None for key in keys):
                self.refresh()
            else:
                time.sleep(min(SECONDS_BETWEEN_LOOKS, beat_seconds()))

    def _seed(self) -> None:
        """Set the board from the plan: committed steps as committed, others with the parts recorded in all phases."""
        for decision in self.plan.decisions:
            state = self.board.steps[decision.step]
            if decision.action == "reuse":
                items = self.plan.manifests[decision.step].items
                self.board.take(StepEnded(step=decision.step, outcome="committed", items=items))
            if (record := self.recorded.get(decision.step)) is not None:
                state.seconds = record.seconds
            state.phase, state.num_parts, state.num_recorded = "", decision.num_parts, decision.num_recorded
            state.committed_step = decision.at_step

    def _take(self, message: Message) -> None:
        if message.kind == "attempt_started":
            self._reset_unfinished()
            self._last_start_read = message.attempt
        for event in sorted(message.events, key=_sort_key):
            _keep_time(event, self.board)
            if event.step in self.board.steps and self.board.steps[event.step].status not in OVER:
                self.clock.at_seconds = event.at_seconds
                queued = self.board.steps[event.step].queued
                self._take_event(event)
                if isinstance(event, MachinesAwaited) and queued == self.board.steps[event.step].queued:
                    continue  # told again for those who read the newest messages alone
                for listener in self.listeners:
                    listener(event)
                if self.board.steps[event.step].status != "reused":
                    self.made_by[event.step] = f"{self.run.name}-{message.attempt}"
        self.clock.at_seconds = None

    def _take_event(self, event: Event) -> None:
        """Take one event. A step with any event is running, even if its start is too far back to be read."""
        state = self.board.steps[event.step]
        if state.status != "running" and not isinstance(event, StepEnded | StepStarted | StepWaiting):
            self.board.take(StepStarted(step=event.step))
        counts = read_phase_counts(event) if isinstance(event, NumbersReported) else None
        if counts is None:
            self.board.take(event)
            return
        phase, num_recorded, items = counts
        if state.phase != phase:
            num_parts = self._num_listed(event.step, phase)
            self.board.take(
                PhaseOpened(step=event.step, phase=phase, num_parts=num_parts, num_recorded=num_recorded, items=items)
            )
        state.num_recorded, state.items, state.committed_at_seconds = num_recorded, items, event.at_seconds
        state.busy = ""

    def _num_listed(self, step: str, phase: str) -> int:
        """How many parts a phase has; 0 if they are not listed yet."""
        frozen = self.run.request.step(step)
        folder = artifact_folder(frozen.stage, frozen.fingerprint)
        return len(self.run.store.read_json(f"{folder}/phases/{phase}/parts.json") or ())

    def _start_ready_steps(self) -> None:
        """Show waiting steps as running if their inputs are committed.

        Used if the start of the attempt is too far back to be read: a step may then have reported nothing in the
        messages that are read, as a long download does.
        """
        for step in self.run.request.steps:
            inputs = {self.board.steps[source.step].status for source in step.inputs.values()}
            if self.board.steps[step.name].status == "waiting" and inputs <= set(OVER):
                self.board.take(StepStarted(step=step.name))

    def _reset_unfinished(self) -> None:
        """Forget the progress that an earlier attempt reported of unfinished steps, but their last checkpoint."""
        for name, state in self.board.steps.items():
            if state.status not in OVER:
                self.board.steps[name] = StepState(name, state.num_steps, committed_step=state.committed_step)

    def _pause_all(self) -> None:
        """Show unfinished steps as waiting: no attempt is executing them."""
        with self.board.lock:
            for state in self.board.steps.values():
                state.pause()


def _records_of_ended_steps(store: Store, made_by: dict[str, str]) -> dict[str, StepRecord]:
    """The records of these steps in the attempts that committed them; what was made without a run has none."""
    attempts = {step: attempt for step, attempt in made_by.items() if ATTEMPT_NAME.fullmatch(attempt)}
    names = [(AttemptId.parse(attempt), step) for step, attempt in attempts.items()]
    found = zip(names, read_step_records(store, names), strict=True)
    return {step: record for (_, step), record in found if record is not None}


def _shows_all_steps(status: RunStatus, messages: Sequence[Message]) -> bool:
    """Whether these messages show how far each step is that may run: its last commit, or its start or waiting."""
    events = [event for message in messages for event in message.events]
    if status.state == "done":
        return _steps_of(status.run.name, status.made_by) <= _ended(events) | status.recorded.keys()
    if any(message.kind == "attempt_started" and message.attempt == status.attempt for message in messages):
        return True
    shown = {event.step for event in events if is_commit(event) or isinstance(event, StepWaiting)}
    return _steps_that_may_run(status.plan) <= shown


def _steps_of(run: str, made_by: dict[str, str]) -> set[str]:
    """The steps that a run made itself, by the attempts that committed them: how long each took is shown."""
    return {step for step, attempt in made_by.items() if attempt.startswith(f"{run}-")}


def _ended(events: Sequence[Event]) -> set[str]:
    return {event.step for event in events if isinstance(event, StepEnded)}


def _keep_time(event: Event, board: Scoreboard) -> None:
    """Keep how long a committed step took, which its records do not say."""
    if isinstance(event, StepEnded) and event.outcome == "committed" and event.step in board.steps:
        board.steps[event.step].seconds = event.seconds


def _steps_that_may_run(plan: Plan) -> set[str]:
    """The steps that are not committed, and read only what is."""
    done = {one.step for one in plan.decisions if one.action == "reuse"}
    unmade = (step for step in plan.request.steps if step.name not in done)
    return {step.name for step in unmade if {source.step for source in step.inputs.values()} <= done}


def _sort_key(event: Event) -> int:
    """Order of the events within a message: other events, then the counts of phases, then ends of steps.

    A message begins with its counts, which include parts of phases that later events of the message open.
    """
    if isinstance(event, StepEnded):
        return 2
    return int(is_count(event))
