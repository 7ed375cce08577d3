"""`neo cancel`: ask a run to stop at its next commit, and stay until it has stopped. It can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from cluster.jobs import JobError, Jobs
from pipelines.commands.context import CommandContext
from pipelines.commands.options import RunArgument
from pipelines.commands.status import document, headline, steps_table, watch_run
from pipelines.exits import ExitCode
from pipelines.running.summary import look_closer
from pipelines.runs.refs import find_run
from pipelines.runs.resume import resume_command
from pipelines.runs.run import AttemptRecord
from pipelines.runs.status import RunStatus
from pipelines.runs.submissions import Submission, Submissions

NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Ask, and return without waiting until it has stopped.")]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace",
        metavar="SECONDS",
        help="Stop the Ray job of a submitted run that has not ended after this.",
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
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    run_status = RunStatus(find_run(store, run))
    asked = _ask(run_status, command)
    queued = _take_back(run_status, command)
    if not asked and not queued:
        command.say(f"Run {run_status.run.name} is not under way, there is nothing to stop.")
    elif not no_wait:
        jobs = {record.job: Jobs(command.site) for record in asked if record.job}
        watch_run(run_status, command, meanwhile=_stop_after(jobs, grace_seconds, command))
    command.say(headline(run_status), steps_table(run_status))
    waiting = f"neo status {run_status.run.name} --watch"
    over = look_closer(run_status.plan) if run_status.state == "done" else resume_command(run_status.run)
    command.end(document(run_status), then=over if run_status.is_over else waiting)


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


def _stop_after(jobs: dict[str, Jobs], grace_seconds: float, command: CommandContext) -> Callable[[], None]:
    """A callback for the time of waiting: once `grace_seconds` are over, it stops the Ray jobs that have not ended."""
    deadline_seconds = time.monotonic() + grace_seconds

    def look() -> None:
        if jobs and time.monotonic() >= deadline_seconds:
            for job, server in jobs.items():
                try:
                    is_stopped = server.stop(job)
                    command.say(
                        f"No answer for {grace_seconds:g} s: {'stopping' if is_stopped else 'no more'} Ray job {job}."
                    )
                except JobError as error:
                    command.say(f"Ray job {job} cannot be stopped: {error}")
            jobs.clear()

    return look
