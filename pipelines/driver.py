"""The driver of a submitted run, which Ray starts as a job: python -m pipelines.driver STORE RUN SUBMISSION

Of a submission with retries, that process starts the driver as a process of its own (`--once`), again if it is lost.
Reads the frozen plan and the submission, checks versions and secrets, and then executes the run as `neo resume` does.
A refusal before anything starts is recorded in the store, where the command that submitted looks for it.
"""

from __future__ import annotations

import os
import sys

from cluster.versions import Versions
from pipelines.commands.context import CommandContext
from pipelines.commands.plan import in_words, plan_table
from pipelines.commands.run import machines
from pipelines.exits import CommandError, ExitCode, RefusedError
from pipelines.planning.plan import Plan, check_only, decide
from pipelines.planning.source_checks import check_frozen_sources
from pipelines.running.execute_run import execute_run
from pipelines.running.retries import drive_again
from pipelines.running.summary import report
from pipelines.runs.resume import check_plan_matches_code
from pipelines.runs.run import Run
from pipelines.runs.submissions import Submission, Submissions
from pipelines.screen.console import Display, write_text
from stages.store.store import Store


class CalledOffError(CommandError):
    """The submission was ended before its driver began."""

    code = ExitCode.INTERRUPTED


def drive(run: Run, number: int) -> ExitCode:
    """Execute the run of a submission; returns its exit code. Raises `CommandError` if it refuses to start."""
    submissions = Submissions(run)
    submission = submissions.read(number)
    if submission is None:
        raise RefusedError(f"run {run.name} has no submission {number} in {run.store.url}", then="neo list")
    if (end := submissions.end(number)) is not None:
        raise CalledOffError(end.message, then=end.then)
    try:
        plan = _checked(run, submission)
    except CommandError as refusal:
        submissions.end_without_attempt(number, refusal.code, str(refusal), refusal.then)
        raise
    output = CommandContext()
    output.say(plan_table(plan, graph=False), in_words(plan))
    if not plan.to_make:
        submissions.end_without_attempt(number, ExitCode.DONE, in_words(plan), f"neo show {run.request.pipeline}")
        return ExitCode.DONE
    site = submission.target_site.seen_from_inside()
    result = execute_run(plan, site, lambda board: Display(output.console, board), machines(), job=submission.job)
    output.say(*report(plan, result, site))
    return result.code


def _checked(run: Run, submission: Submission) -> Plan:
    """The plan as it is decided now. Raises `CommandError` if this machine cannot execute it."""
    versions = Versions.here()
    if submission.target_site.code == "wheel":  # this very code came with the job
        versions = versions.model_copy(update={"package": submission.versions.package})
    if differences := versions.differences(submission.versions):
        raise RefusedError(
            f"the cluster of site {submission.target_site.name!r} has other versions than the command that submitted: "
            f"{'; '.join(differences)} ('here' is the cluster). Give both the same, or let the site send the code "
            'along (code = "wheel")',
            then=f"neo submit {run.name}",
        )
    if missing := [name for name in submission.target_site.secrets if name not in os.environ]:
        raise RefusedError(
            f"the machines of site {submission.target_site.name!r} lack the environment variables "
            f"{', '.join(missing)}, which it names as secrets; set them in the machines' own environment",
            then=f"neo submit {run.name}",
        )
    plan = decide(run.request, run.store)
    check_only(plan, run.store)
    check_plan_matches_code(plan)
    places = submission.target_site.sources
    check_frozen_sources(run.request, plan.to_make, run.store, places, then=f"neo submit {run.name}")
    return plan.model_copy(update={"allows_rollback": submission.allows_rollback})


def main() -> int:
    """The entry point; returns the exit code."""
    store, name, number, *once = sys.argv[1:]
    run = Run(Store(store), name)
    submission = None if once else Submissions(run).read(int(number))
    if submission is not None and submission.retries:
        command = [sys.executable, "-P", "-m", "pipelines.driver", store, name, number, "--once"]
        return drive_again(command, run, submission.retries)
    try:
        return int(drive(run, int(number)))
    except CommandError as refusal:
        write_text(f"neo: {refusal}\n", stderr=True)
        return int(refusal.code)


if __name__ == "__main__":
    sys.exit(main())
