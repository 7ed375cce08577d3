"""`neo cancel`: ask a run to stop at its next commit, and stay until it has stopped. It can be resumed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from cluster.jobs import STOP_GRACE_SECONDS, JobError, Jobs
from pipelines.commands.context import CommandContext
from pipelines.commands.options import RunArgument
from pipelines.commands.status import document, headline, steps_table, waiting_lines, watch_run
from pipelines.exits import ExitCode
from pipelines.running.summary import look_closer
from pipelines.runs.refs import find_run
from pipelines.runs.resume import resume_command
from pipelines.runs.run import AttemptRecord
from pipelines.runs.status import RunStatus
from pipelines.runs.submissions import Submission, Submissions
from stages.commit.heartbeat import lost_after_seconds

NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Ask, and return without waiting until it has stopped.")]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace",
        metavar="SECONDS",
        help="End a run that has not stopped after this: its Ray job, or its process on this machine.",
    ),
]


def cancel(
    ctx: typer.Context,
    run: RunArgument,
    *,
    no_wait: NoWaitOption = False,
    grace_seconds: GraceOption = 300.0,
) -> None:
    """Stop a run at its next commit; it can be resumed.

    Parts under way end, training commits a checkpoint. Nothing committed is lost.
    Asking again changes nothing. An attempt that is dead is recorded as killed.
    What was not begun is called off at once; this command ends 4 minutes after the grace period at the latest.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    run_status = RunStatus(find_run(store, run))
    asked = _ask(run_status, command)
    queued = _take_back(run_status, command)
    if not asked and not queued:
        command.say(f"Run {run_status.run.name} is not under way, there is nothing to stop.")
    elif not no_wait:
        try:
            watch_run(run_status, command, meanwhile=_Grace(asked, grace_seconds, command).look)
        except TimeoutError:
            command.say(
                f"It has not stopped in {grace_seconds + _seconds_to_end():.0f} s. If its machines are lost, "
                f"neo resume {run_status.run.name} --take-over supersedes it."
            )
            command.end(document(run_status), _watching(run_status), code=ExitCode.STEP_FAILED)
    command.say(headline(run_status), steps_table(run_status), *waiting_lines(run_status))
    over = look_closer(run_status.plan) if run_status.state == "done" else resume_command(run_status.run)
    command.end(document(run_status), then=over if run_status.is_over else _watching(run_status))


def _watching(run_status: RunStatus) -> str:
    return f"neo status {run_status.run.name} --watch"


def _ask(run_status: RunStatus, command: CommandContext) -> list[AttemptRecord]:
    """Ask each attempt that is not known to be dead to stop; returns these attempts."""
    attempts = [one.record for one in run_status.run.open_attempts(run_status.observer) if one.life != "dead"]
    for record in attempts:
        is_first = run_status.run.request_stop(record.number)
        words = "Asked" if is_first else "Had already asked"
        command.say(f"{words} attempt {record.number} on {record.host} to stop at its next commit.")
    return attempts


def _take_back(run_status: RunStatus, command: CommandContext) -> Submission | None:
    """Call off a submission whose driver has not begun: there is nothing yet to commit. Returns it, or None.

    The store is written first: a driver that begins after all, on a cluster that does not answer now, reads it there
    and ends.
    """
    waiting = run_status.waiting
    if waiting is None:
        return None
    message = f"Ray job {waiting.job} was called off before it began"
    submissions = Submissions(run_status.run)
    submissions.end_without_attempt(waiting.number, ExitCode.INTERRUPTED, message, f"neo submit {run_status.run.name}")
    command.say(f"{message}.")
    try:
        Jobs(waiting.target_site).stop(waiting.job)
    except JobError as error:
        command.say(f"It could not be taken from the cluster, where it will end at once if it begins: {error}")
    return waiting


class _Grace:
    """The time that attempts have to stop by themselves, and what is done once it is over."""

    def __init__(self, asked: Sequence[AttemptRecord], grace_seconds: float, command: CommandContext) -> None:
        self._attempts, self._grace_seconds, self._command = list(asked), grace_seconds, command
        self._deadline_seconds = time.monotonic() + grace_seconds

    def look(self) -> None:
        """Called while it is waited. Raises `TimeoutError` once no attempt has any time left."""
        late_seconds = time.monotonic() - self._deadline_seconds
        if late_seconds >= 0:
            for record in self._attempts:
                self._command.say(f"No answer for {self._grace_seconds:g} s: {self._end(record)}.")
            self._attempts.clear()
        if late_seconds >= _seconds_to_end():
            raise TimeoutError

    def _end(self, record: AttemptRecord) -> str:
        """End an attempt from outside, if that can be done from here; returns what was done, in words."""
        if record.job:
            try:
                is_stopped = Jobs(self._command.site).stop(record.job)
            except JobError as error:
                return f"Ray job {record.job} cannot be stopped: {error}"
            return f"{'stopping' if is_stopped else 'no more'} Ray job {record.job}"
        if record.is_of_this_machine and not record.is_gone:
            os.kill(record.process_id, signal.SIGTERM)  # after a request to stop, it ends the driver at once
            return f"ending process {record.process_id}"
        return f"process {record.process_id} on {record.host} cannot be ended from here"


def _seconds_to_end() -> float:
    """Longest time from the end of the grace period until an attempt has ended, or is known to be dead: Ray kills a job
    after its own grace, and a heartbeat that stands still counts as lost."""
    return STOP_GRACE_SECONDS + 2 * lost_after_seconds()
