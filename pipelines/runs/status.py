"""The status of a run, read from the store from anywhere: what is committed, what is running, and whether it is alive.

What is committed comes from the records, how fast it goes from the events that the driver left, and whether somebody
is at work from heartbeats. Clocks of two machines meet here, in what is shown and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.planning.plan import Plan, decide
from pipelines.runs.feed import Feed, is_count
from pipelines.runs.outbox import Message, read_phase_counts
from pipelines.runs.run import Run, RunState
from pipelines.runs.submissions import Submission, Submissions
from pipelines.screen.progress import Scoreboard, StepState
from stages.artifacts.manifest import artifact_folder
from stages.commit.heartbeat import Observer, beat_seconds
from stages.contract import Event, NumbersReported, PhaseOpened, StepEnded, StepStarted, StepWaiting

NUM_BEATS_TO_WATCH = 3
"""How long a first look at another machine's driver takes, in beats."""
OVER = ("committed", "reused")


@dataclass
class EventClock:
    """The time of the event that is being taken; between events, the time now."""

    at_seconds: float | None = None

    def __call__(self) -> float:
        return time.time() if self.at_seconds is None else self.at_seconds


class RunStatus:
    """The status of one run, brought up to date by `refresh`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.plan: Plan = decide(run.request, run.store)
        self.observer = Observer(run.store)
        self.clock = EventClock()
        self.board = Scoreboard({step.name: step.num_steps for step in run.request.steps}, self.clock)
        self.made_by = {step: str(made.provenance.get("attempt", "")) for step, made in self.plan.manifests.items()}
        """Step to the attempt that committed it, or that is at it."""
        self.listeners: list[Callable[[Event], None]] = []
        """Told of every event once the board knows of it."""
        self.state: RunState = "planned"
        self.attempt = 0
        """The last attempt; 0 where there was none."""
        self.waiting: Submission | None = None
        """A submission of which no attempt has come yet."""
        self._feed = Feed(run)
        self._heard_beginning = 0
        self._seed()
        self.refresh()
        if self.is_over:
            self._seed()  # the records know of more than the last events of a driver that died
        elif self._heard_beginning != self.attempt:
            self._start_what_is_ready()

    @property
    def is_over(self) -> bool:
        """Whether nobody is at work, as far as is known, nor expected to be."""
        return self.state not in ("running", "unknown") and self.waiting is None

    @property
    def heartbeat_age_seconds(self) -> float | None:
        """Since the last attempt's counter was last seen to move; None where it was not, or nobody is at work."""
        found = [
            one.heartbeat_age_seconds
            for one in self.run.open_attempts(self.observer)
            if one.record.number == self.attempt
        ]
        return found[0] if found else None

    def refresh(self) -> None:
        """Take what happened since the last call."""
        self.state, self.attempt = self.run.state(self.observer), self.run.num_attempts
        self.waiting = None if self.state == "running" else Submissions(self.run).waiting()
        for message in self._feed.read():
            with self.board.lock:
                self._take(message)
        if self.is_over:
            self._pause_all()

    def watch_for_a_beat(self) -> None:
        """Where the driver is on another machine, look long enough to see it move if it does."""
        for _ in range(NUM_BEATS_TO_WATCH):
            if self.state == "unknown":
                time.sleep(beat_seconds())
                self.refresh()

    def _seed(self) -> None:
        """What the records say, of all phases together."""
        for decision in self.plan.decisions:
            state = self.board.steps[decision.step]
            if decision.action == "reuse":
                items = self.plan.manifests[decision.step].items
                self.board.take(StepEnded(step=decision.step, outcome="committed", items=items))
            state.phase, state.num_parts, state.num_recorded = "", decision.num_parts, decision.num_recorded
            state.committed_step = decision.at_step

    def _take(self, message: Message) -> None:
        if message.kind == "attempt_started":
            self._reset_unfinished()
            self._heard_beginning = message.attempt
        for event in sorted(message.events, key=_sort_key):
            if event.step in self.board.steps and self.board.steps[event.step].status not in OVER:
                self.clock.at_seconds = event.at_seconds
                self._take_event(event)
                for listener in self.listeners:
                    listener(event)
                if self.board.steps[event.step].status != "reused":
                    self.made_by[event.step] = f"{self.run.name}-{message.attempt}"
        self.clock.at_seconds = None

    def _take_event(self, event: Event) -> None:
        """A step of which anything is heard runs, even if its beginning lies too far back to be read."""
        state = self.board.steps[event.step]
        if state.status != "running" and not isinstance(event, StepEnded | StepStarted | StepWaiting):
            self.board.take(StepStarted(step=event.step))
        tally = read_phase_counts(event) if isinstance(event, NumbersReported) else None
        if tally is None:
            self.board.take(event)
            return
        phase, num_recorded, items = tally
        if state.phase != phase:
            num_parts = self._num_listed(event.step, phase)
            self.board.take(
                PhaseOpened(step=event.step, phase=phase, num_parts=num_parts, num_recorded=num_recorded, items=items)
            )
        state.num_recorded, state.items, state.committed_at_seconds = num_recorded, items, event.at_seconds

    def _num_listed(self, step: str, phase: str) -> int:
        frozen = self.run.request.step(step)
        folder = artifact_folder(frozen.stage, frozen.fingerprint)
        return len(self.run.store.read_json(f"{folder}/phases/{phase}/parts.json") or ())

    def _start_what_is_ready(self) -> None:
        """Of a step that has been silent for long, no event is near enough: where its inputs are there, it runs."""
        for step in self.run.request.steps:
            inputs = {self.board.steps[source.step].status for source in step.inputs.values()}
            if self.board.steps[step.name].status == "waiting" and inputs <= set(OVER):
                self.board.take(StepStarted(step=step.name))

    def _reset_unfinished(self) -> None:
        """What an attempt before had under way says nothing of the one that begins."""
        for name, state in self.board.steps.items():
            if state.status not in OVER:
                self.board.steps[name] = StepState(name, state.num_steps, committed_step=state.committed_step)

    def _pause_all(self) -> None:
        """What no attempt is at any more waits for the next one."""
        with self.board.lock:
            for state in self.board.steps.values():
                state.pause()


def _sort_key(event: Event) -> int:
    """A message has its counts first; they hold after the phases that it opens, and before the steps that it ends."""
    if isinstance(event, StepEnded):
        return 2
    return int(is_count(event))
