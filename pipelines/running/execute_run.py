"""Executes a plan as a new attempt of its run, and returns how it ended. Owns the exit code of each outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.exits import ExitCode, RefusedError
from pipelines.planning.plan import Plan
from pipelines.running.attempt import Attempt, RunGraph, StepEnding
from pipelines.running.indexing import index_committed
from pipelines.runs.attempts import reconcile, settle
from pipelines.runs.run import AttemptOutcome, Run, open_run
from pipelines.screen.console import Display
from pipelines.screen.progress import Scoreboard
from pipelines.tracking.delivery import DeliveryThread
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import manifest_key
from stages.store.store import Store

if TYPE_CHECKING:
    from cluster.site import Site

EXIT_CODES: dict[AttemptOutcome, ExitCode] = {
    "done": ExitCode.DONE,
    "failed": ExitCode.STEP_FAILED,
    "superseded": ExitCode.SUPERSEDED,
    "interrupted": ExitCode.INTERRUPTED,
}


@dataclass(frozen=True)
class RunResult:
    """How an attempt of a run ended."""

    run: Run
    attempt: int
    code: ExitCode
    endings: dict[str, StepEnding]
    """How each step ended; a step that is missing was not started."""
    board: Scoreboard
    seconds: float
    num_undelivered: int = 0
    """Messages in the store that are not delivered to MLflow."""
    tracker_problem: str = ""
    """Why deliveries to MLflow failed or were rejected; '' if none did."""
    failure: str = ""
    """An error outside the steps; '' without one."""


def execute_run(
    plan: Plan, site: Site, display: Callable[[Scoreboard], Display], run_graph: RunGraph, job: str = ""
) -> RunResult:
    """Execute the steps that are not committed. Errors of steps are in the result, which has the ending of each step.

    `job` is the name of the Ray job that this process runs in, if the run was submitted.
    """
    started = time.monotonic()
    store = Store(site.store)
    undelivered = reconcile(store, settles=True)
    run = open_run(store, plan.request)
    attempt = Attempt(plan, run, site, display, job)
    with attempt:
        told = [*(other for other in undelivered if other.name != run.name), run]
        _check_reused(plan, run)
        delivery = DeliveryThread(site.mlflow, told)
        attempt.execute(run_graph)
        if attempt.outcome == "done":
            index_committed(run, site, attempt.say)
    num_undelivered = delivery.close()
    for one in told:
        settle(one)
    return RunResult(
        run=run,
        attempt=attempt.number,
        code=EXIT_CODES[attempt.outcome],
        endings=attempt.endings,
        board=attempt.board,
        seconds=time.monotonic() - started,
        num_undelivered=num_undelivered,
        tracker_problem=delivery.problem,
        failure=attempt.failure,
    )


def _check_reused(plan: Plan, run: Run) -> None:
    """Raise `RefusedError` where an artifact that the plan reuses was deleted since it was looked for.

    Called once plan and attempt are in the store. `neo gc` quarantines a manifest first and looks for them then, so one
    of the two finds the other.
    """
    reused = [plan.manifests[one.step] for one in plan.decisions if one.action == "reuse"]
    keys = [manifest_key(head.stage, head.fingerprint) for head in reused]
    for head, size_bytes in zip(reused, run.store.each(run.store.size_bytes, keys), strict=True):
        if size_bytes is None:
            raise RefusedError(
                f"{head.stage}/{head.fingerprint[:SHOWN_DIGITS]} was deleted while the run was planned; plan it again",
                then=plan.request.command,
            )
