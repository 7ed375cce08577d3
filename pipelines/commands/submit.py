"""`neo submit`: freeze a plan, submit it to the site's cluster as a Ray job, and return, or stay and watch."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, NoReturn

import typer

from cluster.jobs import JobError, Jobs
from cluster.site import Site
from cluster.versions import Versions
from pipelines.commands.context import CommandContext
from pipelines.commands.options import (
    FromOption,
    KeepCodeOption,
    OnlyOption,
    RollbackOption,
    SetOption,
    UntilOption,
    UseOption,
    more_option,
    with_more_options,
    with_retry_rows,
)
from pipelines.commands.pending_job import JobLostError, PendingJob
from pipelines.commands.pin import planned_to_run
from pipelines.commands.plan import confirm_unused, in_words, plan_table
from pipelines.commands.run import nothing_to_make
from pipelines.commands.selection import TypedSelection
from pipelines.commands.status import document, headline, steps_table, watch_run
from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from pipelines.planning.catalog import shipped_pipelines
from pipelines.planning.plan import Plan, check_only, decide
from pipelines.planning.site_checks import check_ray_version, check_site_names
from pipelines.running.execute_run import EXIT_CODES
from pipelines.running.retries import is_cancelled
from pipelines.running.summary import look_closer, masked
from pipelines.runs.own_code import explained, with_newest_code
from pipelines.runs.resume import check_plan_matches_code, resume_command, wait_for_known_state
from pipelines.runs.run import Run, open_run
from pipelines.runs.status import RunStatus
from pipelines.runs.submissions import Submission, SubmissionEnd, Submissions
from stages.store.fault_points import fault_point
from stages.store.store import Store

HEAD_BACK_SECONDS = 900.0
"""Longest wait with `--wait --retries` for a cluster that does not answer, such as one whose head is started again."""
HEAD_GONE_SECONDS = 60.0
"""Longest such wait with `--wait` alone: without retries, nobody would submit again to a head that comes back."""
BEGIN_SECONDS = 60.0
"""How long the command waits for the driver to begin, or to refuse, before it returns."""
SECONDS_BETWEEN_LOOKS = 0.5
SubmittedArgument = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE|RUN", help="A shipped pipeline, path/to/file.py:function, or a run by its full name."
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Stay and show what happens, until the run ends or Ctrl-C."),
]
RetriesOption = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        help="Start a driver that died or was stopped from outside again, N times at most; "
        "with --wait, also where its machine or the cluster's head was lost.",
    ),
]


@with_retry_rows
@with_more_options(more_option("froms", None, FromOption), more_option("retries", 0, RetriesOption))
def submit(
    pipeline: SubmittedArgument,
    *,
    settings: SetOption = None,
    until: UntilOption = None,
    only: OnlyOption = None,
    uses: UseOption = None,
    allow_rollback: RollbackOption = False,
    keep_code: KeepCodeOption = False,
    wait: WaitOption = False,
) -> None:
    """Run a pipeline on the site's cluster, as a Ray job.

    This machine may then be closed. Submitting the same again attaches to the job. A run by its full name continues
    from its frozen plan with the newest code, like `neo resume`, but on the cluster.
    """
    command = CommandContext.typed or CommandContext()
    retries = command.retries
    _check_submittable(command.site, pipeline)
    store = command.store_to_write()
    command.deliver_pending(store)
    asked = TypedSelection(pipeline, settings or (), until, only, uses or (), command.site.sources, command.froms)
    asked = replace(asked, retries=command.retry_rows)
    plan = _planned(asked, store, command, keeps_code=keep_code)
    if not plan.to_make:
        nothing_to_make(plan, command)
    command.say(plan_table(plan, graph=False), in_words(plan), "")
    confirm_unused(plan, command)
    run = open_run(store, plan.request)
    try:
        submission = hand_over(run, command, allows_rollback=allow_rollback, retries=retries)
        if submission and not wait:
            _check_begun(PendingJob(run, submission, command.site), command)
        if retries and not wait:
            command.say(
                "Its job starts a lost driver again. A machine or head that is lost takes the job with it: submit "
                "again then, or stay with --wait, which does so."
            )
        if wait:
            submission = _watch(run, submission, command, retries)
    except JobError as error:
        raise RefusedError(str(error), then=f"neo doctor --site {command.site.name}") from error
    _report(run, submission, command, wait=wait)


def _watch(run: Run, submission: Submission | None, command: CommandContext, retries: int) -> Submission | None:
    """Show the run until it is over, and submit it again, `retries` times at most, where its job was lost.

    Returns its last submission. A job whose driver alone died starts it again itself. Raises `JobLostError` where the
    job was lost before its driver began, and no retry is left.
    """
    left = retries
    while True:
        patience_seconds = HEAD_BACK_SECONDS if left else HEAD_GONE_SECONDS
        try:
            run_status = _watch_once(run, submission, command, patience_seconds)
        except JobLostError as error:
            if not left:
                raise
            lost = str(error)
        else:
            is_lost = run_status.is_over and run_status.state in ("killed", "interrupted") and not is_cancelled(run)
            if submission is None or not left or not is_lost:
                return submission
            if not _is_job_over(run, submission, command):
                continue
            lost = f"Run {run.name} was lost with its job"
        left -= 1
        command.say(f"{lost}; retry {retries - left} of {retries}.")
        allows_rollback = submission is not None and submission.allows_rollback
        submission = hand_over(run, command, allows_rollback=allows_rollback, retries=left)


def _watch_once(run: Run, submission: Submission | None, command: CommandContext, patience_seconds: float) -> RunStatus:
    """Show the run until it is over; ends as the driver did where it ended before it began.

    Raises `JobLostError` where the job of `submission` is lost before its driver begins.
    """
    pending = PendingJob(run, submission, command.site, patience_seconds) if submission else None
    _check_begun(pending, command)
    run_status = RunStatus(run)

    def look() -> None:
        if pending is not None and run_status.waiting == pending.submission:
            pending.look()

    watch_run(run_status, command, meanwhile=look)
    if pending is not None and (end := pending.end()) is not None:
        _ended_at_once(end)
    return run_status


def _is_job_over(run: Run, submission: Submission, command: CommandContext) -> bool:
    """Whether the job of a run without a driver is over. False once it has started its driver again.

    Waits for a cluster that does not answer, as while its head is started again; raises `JobError` if it stays away.
    """
    deadline = time.monotonic() + HEAD_BACK_SECONDS
    while RunStatus(run).is_over:
        try:
            if Jobs(command.site).state(submission.job) in ("ended", "absent"):
                return True
        except JobError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


def hand_over(
    run: Run, command: CommandContext, *, allows_rollback: bool = False, retries: int = 0
) -> Submission | None:
    """Submit the run, or attach to the attempt that executes it already.

    Returns the last submission, or None if there never was one.
    """
    jobs, submissions = Jobs(command.site), Submissions(run)
    while True:
        if wait_for_known_state(run, command.say) == "running":
            command.say(f"Run {run.name} is under way already: attached to attempt {run.num_attempts}.")
            return submissions.last()
        if (waiting := submissions.waiting()) is not None:
            state = jobs.state(waiting.job)
            if state == "absent":  # the command that took the number died before it could submit
                _submit(jobs, run, waiting)
            if state != "ended":
                command.say(f"Run {run.name} was submitted already: attached to Ray job {waiting.job}.")
                if allows_rollback and not waiting.allows_rollback:
                    command.say(f"It was submitted without --allow-rollback: for that, neo cancel {run.name} first.")
                return waiting
        _check_same_ray(jobs, run)
        taken = submissions.begin(command.site, allows_rollback=allows_rollback, retries=retries)
        if taken is not None:
            _submit(jobs, run, taken)
            command.say(f"Submitted as Ray job {taken.job}.")
            return taken


def _check_same_ray(jobs: Jobs, run: Run) -> None:
    """Raise `RefusedError` where the cluster's Ray is another than the one here, before anything is submitted."""
    there, here = jobs.ray_version(), Versions.here().ray
    if there != here:
        raise RefusedError(
            f"the cluster of site {jobs.site.name!r} runs Ray {there}, and Ray {here} is installed here; the driver "
            "would refuse to begin. Install that version here, or give the cluster's image this one",
            then=f"pip install 'ray[default,train]=={there}'   (then neo submit {run.name})",
        )


def _submit(jobs: Jobs, run: Run, submission: Submission) -> None:
    with fault_point("job.submitted"):
        jobs.submit(submission.job, "pipelines.driver", [run.store.url, run.name, str(submission.number)])


def _check_begun(pending: PendingJob | None, command: CommandContext) -> None:
    """Wait for the driver to begin, for a while; end as it did if it refused or had nothing to make."""
    if pending is None:
        return
    deadline = time.monotonic() + BEGIN_SECONDS
    while pending.is_pending:
        pending.look()
        if time.monotonic() >= deadline:
            command.say(f"It has not begun after {BEGIN_SECONDS:.0f} s: the cluster starts machines, or is full.")
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if (end := pending.end()) is not None:
        _ended_at_once(end)


def _ended_at_once(end: SubmissionEnd) -> NoReturn:
    """End as the driver did, which refused or had nothing to make."""
    if end.code == ExitCode.DONE:
        raise typer.Exit(0)
    error = CommandError(end.message, then=end.then)
    error.code = end.code
    raise error


def _report(run: Run, submission: Submission | None, command: CommandContext, *, wait: bool) -> NoReturn:
    run_status = RunStatus(run)
    command.say(headline(run_status))
    record = run.attempt(run_status.attempt)
    told = {**document(run_status), "job": record.job if record else submission.job if submission else ""}
    if not wait or not run_status.is_over:
        command.end(told, then=f"neo status {run.name} --watch   (or neo cancel {run.name})")
    command.say(steps_table(run_status))
    if run_status.state == "done":
        command.end(told, then=look_closer(run_status.plan))
    end = run.end(run_status.attempt)
    code = EXIT_CODES.get(end.outcome, ExitCode.STEP_FAILED) if end else ExitCode.STEP_FAILED
    then = (
        f"neo logs {run.name}   (and neo submit {run.name} to continue)"
        if code == ExitCode.STEP_FAILED
        else resume_command(run)
    )
    command.end(told, then=then, code=code)


def _planned(asked: TypedSelection, store: Store, command: CommandContext, *, keeps_code: bool) -> Plan:
    """The plan of a pipeline as its file is now, or of a run as it was frozen, with the newest code."""
    frozen = Run(store, asked.pipeline)
    is_pipeline = asked.pipeline in shipped_pipelines() or ":" in asked.pipeline or "/" in asked.pipeline
    if is_pipeline or store.read(f"{frozen.folder}/plan.json") is None:
        if keeps_code:
            raise BadCommandError(
                "--keep-code is for a run by its full name; a pipeline is planned with its code as it is now",
                then=f"neo submit {asked.pipeline}",
            )
        return planned_to_run(asked, store, command)
    plan = decide(frozen.request, store)
    is_under_way = wait_for_known_state(frozen, command.say) == "running" or Submissions(frozen).waiting() is not None
    if plan.to_make and not keeps_code and not is_under_way:
        request, changes = with_newest_code(frozen)
        plan = explained(decide(request, store), store)
        command.say(*changes)
    check_only(plan, store)
    check_plan_matches_code(plan)
    check_ray_version()
    command.say(*check_site_names(command.site, plan.request))
    return plan


def _check_submittable(site: Site, pipeline: str) -> None:
    if site.is_embedded:
        raise BadCommandError(
            f"site {site.name!r} has no cluster to submit to: its Ray lives for one run on this machine. "
            "Name a site with a cluster, or run the pipeline here",
            then=f"neo run {pipeline}",
        )
    if masked(site.mlflow) != site.mlflow:
        raise BadCommandError(
            f"site {site.name!r}: its mlflow address holds a password, which would be written into the store; "
            "give it as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the machines instead",
            then="neo submit --help",
        )
