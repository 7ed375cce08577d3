"""Executes a plan as a new attempt of its run, and returns how it ended. Owns the exit code of each outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.exits import ExitCode, RefusedError
from pipelines.garbage.reachability import ArtifactName, lenders_of, name_of
from pipelines.lineage.graph import lineage_of
from pipelines.planning.plan import Plan
from pipelines.running.attempt import Attempt, RunGraph, StepEnding
from pipelines.running.indexing import index_committed
from pipelines.runs.attempts import reconcile, settle
from pipelines.runs.run import AttemptOutcome, Run, open_run
from pipelines.screen.console import Display
from pipelines.screen.progress import Scoreboard
from pipelines.tracking.delivery import DeliveryThread
from stages.artifacts.head import ManifestHead
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
    tracker_route: str = ""
    """Where MLflow's site shows the run, below its address; '' where that is not known."""
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
        tracker_route=delivery.route(run),
        failure=attempt.failure,
    )


def _check_reused(plan: Plan, run: Run) -> None:
    """Raise `RefusedError` where an artifact that the plan reuses was deleted since it was looked for.

    Called once plan and attempt are in the store. `neo gc` quarantines a manifest first and looks for them then, so one
    of the two finds the other.
    """
    reused = [plan.manifests[one.step] for one in plan.decisions if one.action == "reuse"]
    if missing := _missing(run.store, [name_of(head.stage, head.fingerprint) for head in reused]):
        raise RefusedError(
            f"{'/'.join(missing)} was deleted while the run was planned; plan it again", then=plan.request.command
        )
    for step in plan.request.steps:
        if step.used:
            _check_used(plan.manifests[step.name], run.store)


def _check_used(used: ManifestHead, store: Store) -> None:
    """Raise `RefusedError` where `--use` bound an artifact of which the store lacks something that it was made of.

    The plan has no steps for that, which could make it again.
    """
    heads = [node.head or used for node in lineage_of(store, used.stage, used.fingerprint).nodes]
    read = [name_of(item.stage, item.fingerprint) for head in heads for item in head.inputs.values()]
    lenders = [lender for head in heads for lender in lenders_of(head)]
    if missing := _missing(store, [*read, *lenders]):
        raise RefusedError(
            f"--use {used.short}: {'/'.join(missing)}, of which it was made, is not in the store",
            then=f"neo audit {used.short}",
        )


def _missing(store: Store, names: Iterable[ArtifactName]) -> ArtifactName | None:
    """The first of these artifacts that has no manifest; None where all have."""
    asked = list(dict.fromkeys(names))
    sizes = store.each(store.size_bytes, [manifest_key(*name) for name in asked])
    return next((name for name, size_bytes in zip(asked, sizes, strict=True) if size_bytes is None), None)
