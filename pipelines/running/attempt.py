"""An attempt of a run, as a context manager.

Owns the order of its records: the attempt is recorded before a machine is used, a name moves after its artifact is
committed, and the end of the attempt is recorded before the command ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from pipelines.planning.plan import Plan
from pipelines.running.driver_heartbeat import DriverHeartbeat
from pipelines.running.names import point_at_run, point_name
from pipelines.running.signals import stop_on_signals
from pipelines.running.step_specs import step_specs
from pipelines.runs.attempts import end_attempt
from pipelines.runs.feed import keep_step_record
from pipelines.runs.log import AttemptLog
from pipelines.runs.outbox import EventWriter, Message, Outbox
from pipelines.runs.run import AttemptOutcome, Run
from pipelines.screen.console import Display
from pipelines.screen.progress import Scoreboard
from stages.commit.execute_step import complete_head
from stages.commit.step_spec import StepSpec
from stages.contract import Event, StepEnded
from stages.store.errors import StoreError

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.step_task import StepOutcome

RunGraph: TypeAlias = Callable[
    [Mapping[str, StepSpec], Mapping[str, Sequence[str]], "Site", Callable[[Event], None], threading.Event],
    "Mapping[str, StepOutcome]",
]
"""A function that executes steps on machines, such as `cluster.graph.run_graph`. Takes specs by step, the names of the
steps that each reads, the site, a listener for events, and the event that requests a stop; returns outcomes by step."""
ENDED_EARLY = ("failed", "superseded")
"""Endings of a step whose reason becomes the reason of the attempt."""


@dataclass(frozen=True)
class StepEnding:
    """How one step ended."""

    ending: str
    """The outcome, such as `committed` or `failed`."""
    reason: str = ""
    """Why, in a sentence; '' if the step is committed."""
    details: str = ""
    """The traceback of a step that failed."""


class Attempt:
    """One attempt of a run.

    Entering takes the next attempt number, points the pipeline's name at the run, and starts heartbeat, outbox and
    log. Leaving stops them and records the end of the attempt; an exception that leaves the block counts as a failure.
    `outcome`, `endings` and `failure` are final after leaving.
    """

    def __init__(self, plan: Plan, run: Run, site: Site, display: Callable[[Scoreboard], Display], job: str) -> None:
        self.plan = plan
        self.run = run
        self.site = site
        self.board = Scoreboard({step.name: step.num_steps for step in plan.request.steps})
        for decision in plan.decisions:
            if decision.action == "continue":
                self.board.steps[decision.step].committed_step = decision.at_step
        self.outcome: AttemptOutcome = "failed"
        self.endings: dict[str, StepEnding] = {}
        """How each step ended, by step."""
        self.failure = ""
        """An error outside the steps, such as a cluster that cannot be reached; '' without one."""
        self._open_display = display
        self._job = job

    def __enter__(self) -> Self:
        self.number = self.run.begin_attempt(self.plan, self.site.name, self._job)
        point_at_run(self.run)
        outbox = Outbox(self.run.store, self.run.name)
        outbox.append(Message(kind="attempt_started", attempt=self.number))
        self._writer = EventWriter(outbox, self.number)
        self._log = AttemptLog(self.run, self.number, self.board)
        self._display = self._open_display(self.board)
        self._heartbeat = DriverHeartbeat(self.run, self.number, self.say)
        self._log.write(
            f"attempt {self.number} begins on site {self.site.name!r}: {', '.join(self.plan.to_make)} to make"
        )
        self._log_writing = self._log.writing()
        self._log_writing.__enter__()
        return self

    def execute(self, run_graph: RunGraph) -> None:
        """Execute the steps that are not committed. Errors are kept in `outcome` and `failure`."""
        stop = self._heartbeat.stop
        try:
            self._report_reused()
            specs = step_specs(self.plan, self.run, self.number, self.site.sources)
            edges = {
                name: sorted({item.step for item in self.plan.request.step(name).inputs.values()}) for name in specs
            }
            with stop_on_signals(stop, self.say, self._heartbeat.is_stop_requested), self._display.watching():
                outcomes = run_graph(specs, edges, self.site, self._on_event, stop)
        except KeyboardInterrupt:
            self.outcome, self.failure = "interrupted", "stopped at once, being asked twice"
        except Exception as error:
            # Ctrl-C goes to the whole process group: Ray dies of it and fails here, and the attempt is interrupted.
            self.outcome = "interrupted" if stop.is_set() else "failed"
            self.failure = f"{type(error).__name__}: {error}"
        else:
            self.endings |= {
                step: StepEnding(item.ending, item.reason, item.details) for step, item in outcomes.items()
            }
            self.outcome = _overall({ending.ending for ending in self.endings.values()})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.outcome, self.failure = "failed", f"{type(error).__name__}: {error}"
        superseded = self._heartbeat.end()
        if superseded and self.outcome != "done":
            self.outcome, self.failure = "superseded", superseded
        ended_early = (ending.reason for ending in self.endings.values() if ending.ending in ENDED_EARLY)
        reason = self.failure or next(ended_early, "")
        self._log.write(f"attempt {self.number}: {self.outcome} {reason}".rstrip())
        self._log_writing.__exit__(None, None, None)
        self._writer.close()
        self._record_end(reason)

    def _record_end(self, reason: str) -> None:
        """Record the end of the attempt. If the store refuses, the next command finds the process gone and records
        that the attempt was killed."""
        try:
            for step, ending in self.endings.items():
                if ending.details and ending.ending == "failed":
                    self._log.keep_traceback(step, ending.details)
            end_attempt(self.run, self.number, self.outcome, reason)
        except StoreError as error:
            self.outcome = "failed"
            self.failure = self.failure or f"the end of this attempt could not be recorded: {error}"

    def _report_reused(self) -> None:
        for decision in self.plan.decisions:
            if decision.action == "reuse":
                head = self.plan.manifests[decision.step]
                complete_head(self.run.store, head)
                self._on_event(StepEnded(step=decision.step, outcome="reused", items=head.items))

    def _on_event(self, event: Event) -> None:
        """Move the name of a committed step, then pass the event to screen, log and outbox. Called from any thread."""
        if isinstance(event, StepEnded):
            self.endings[event.step] = StepEnding(event.outcome, event.reason)
            if event.outcome in ("committed", "reused"):
                is_new = event.outcome == "committed"
                point_name(self.run.store, self.plan.request, event.step, self.run.name, is_new=is_new)
        self._display.take(event)
        if isinstance(event, StepEnded) and event.outcome != "reused":
            keep_step_record(self.run, self.number, self.board.steps[event.step])
        self._log.take(event)
        self._writer.post(event)

    def say(self, text: str) -> None:
        """Print a line on the screen, and write it to the log."""
        self._display.print_line(text)
        self._log.write(text)


def _overall(endings: set[str]) -> AttemptOutcome:
    if endings <= {"committed", "reused"}:
        return "done"
    if "failed" in endings:
        return "failed"
    return "superseded" if "superseded" in endings else "interrupted"
