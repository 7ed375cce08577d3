"""Carrying out a plan: the attempt, the names it moves, what it tells the tracker, and how it ends.

Owns the order of things: the plan is frozen and the attempt is on record before a machine is used; a name moves once
its artifact is committed; the attempt's end is on record before the command ends.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.exits import ExitCode
from pipelines.planning.plan import Plan
from pipelines.planning.request import FrozenStep, Request
from pipelines.running.driver_heartbeat import Pulse
from pipelines.running.signals import stop_on_signals
from pipelines.runs.attempts import end_attempt, reconcile
from pipelines.runs.log import AttemptLog
from pipelines.runs.outbox import EventWriter, Message, Outbox
from pipelines.runs.run import AttemptEnd, AttemptOutcome, Run, open_run
from pipelines.screen.console import Display
from pipelines.screen.progress import Scoreboard
from pipelines.tracking.delivery import DeliveryThread
from stages.artifacts.manifest import artifact_folder, read_head
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import StepSpec
from stages.contract import Event, StepEnded
from stages.store.fault_points import fault_point
from stages.store.store import Store, StoreError

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.step_task import StepOutcome

RunGraph: TypeAlias = Callable[
    [Mapping[str, StepSpec], Mapping[str, Sequence[str]], "Site", Callable[[Event], None], threading.Event],
    "Mapping[str, StepOutcome]",
]
"""What carries out orders on machines: `cluster.graph.run_graph`, or something like it."""


@dataclass(frozen=True)
class StepEnding:
    """How one step ended, in words."""

    ending: str
    reason: str = ""
    details: str = ""


@dataclass(frozen=True)
class RunResult:
    """How an attempt of a run ended."""

    run: Run
    attempt: int
    code: ExitCode
    endings: dict[str, StepEnding]
    board: Scoreboard
    seconds: float
    num_undelivered: int = 0
    """Messages that wait for a tracker."""
    tracker_problem: str = ""
    failure: str = ""
    """What went wrong beside the steps."""


@dataclass(frozen=True)
class _Attempt:
    """What is at hand while an attempt goes on."""

    plan: Plan
    run: Run
    number: int
    site: Site
    screen: Display
    say: Callable[[str], None]
    """To who is watching, and to who reads later."""
    post: Callable[[Event], None]
    stop: threading.Event
    """Set where the attempt is to stop at its next commit."""


def carry_out(
    plan: Plan, site: Site, display: Callable[[Scoreboard], Display], run_graph: RunGraph, job: str = ""
) -> RunResult:
    """Make what is to be made. Never raises for what a stage does wrong; says how each step ended.

    `job` is the Ray job that this process is, if it was submitted.
    """
    started = time.monotonic()
    store = Store(site.store)
    left_behind = reconcile(store)
    run = open_run(store, plan.request)
    number = run.begin_attempt(plan, site.name, job)
    point_at_run(run)
    outbox = Outbox(store, run.name)
    outbox.append(Message(kind="attempt_started", attempt=number))
    board = Scoreboard({step.name: step.num_steps for step in plan.request.steps})
    writer = EventWriter(outbox, number)
    log = AttemptLog(run, number, board)
    delivery = DeliveryThread(site.mlflow, [*(other for other in left_behind if other.name != run.name), run])
    screen = display(board)

    def say(text: str) -> None:
        screen.note(text)
        log.write(text)

    pulse = Pulse(run, number, say)

    def on_event(event: Event) -> None:
        if isinstance(event, StepEnded) and event.outcome in ("committed", "reused"):
            point_name(store, plan.request, event.step, run.name, made_anew=event.outcome == "committed")
        screen.take(event)
        log.take(event)
        writer.post(event)

    log.write(f"attempt {number} begins on site {site.name!r}: {', '.join(plan.to_make)} to make")
    with log.writing():
        outcome, endings, failure = _go(_Attempt(plan, run, number, site, screen, say, on_event, pulse.stop), run_graph)
        superseded = pulse.end()
        if superseded and outcome != "done":
            outcome, failure = "superseded", superseded
        reason = failure or next((ending.reason for ending in endings.values() if ending.ending in ENDED_EARLY), "")
        log.write(f"attempt {number}: {outcome} {reason}".rstrip())
    writer.close()
    if unsaid := _put_on_record(run, number, AttemptEnd(outcome=outcome, reason=reason), endings, log):
        outcome, failure = "failed", failure or unsaid
    return RunResult(
        run=run,
        attempt=number,
        code=EXIT_CODES[outcome],
        endings=endings,
        board=board,
        seconds=time.monotonic() - started,
        num_undelivered=delivery.close(),
        tracker_problem=delivery.problem,
        failure=failure,
    )


def _put_on_record(run: Run, number: int, end: AttemptEnd, endings: Mapping[str, StepEnding], log: AttemptLog) -> str:
    """How the attempt ended, for good. Returns why the store did not take it, or '': then the next command finds an
    attempt whose process is gone, and says so."""
    try:
        for step, ending in endings.items():
            if ending.details and ending.ending == "failed":
                log.keep_traceback(step, ending.details)
        end_attempt(run, number, end.outcome, end.reason)
    except StoreError as error:
        return f"how this attempt ended is not on record: {error}"
    return ""


ENDED_EARLY = ("failed", "superseded")
"""Endings of a step whose reason is that of the attempt."""
EXIT_CODES: dict[AttemptOutcome, ExitCode] = {
    "done": ExitCode.DONE,
    "failed": ExitCode.STEP_FAILED,
    "superseded": ExitCode.SUPERSEDED,
    "interrupted": ExitCode.INTERRUPTED,
}


def _go(attempt: _Attempt, run_graph: RunGraph) -> tuple[AttemptOutcome, dict[str, StepEnding], str]:
    """The attempt itself: its outcome, how each step ended, and what went wrong beside the steps."""
    plan, store, stop = attempt.plan, attempt.run.store, attempt.stop
    endings: dict[str, StepEnding] = {}

    def on_event(event: Event) -> None:
        if isinstance(event, StepEnded):
            endings[event.step] = StepEnding(event.outcome, event.reason)
        attempt.post(event)

    try:
        for decision in plan.decisions:
            if decision.action == "reuse":
                items = _items(store, plan.request.step(decision.step))
                on_event(StepEnded(step=decision.step, outcome="reused", items=items))
        orders = orders_of(plan, attempt.run, attempt.number)
        edges = {name: sorted({item.step for item in plan.request.step(name).inputs.values()}) for name in orders}
        with stop_on_signals(stop, attempt.say), attempt.screen.watching():
            outcomes = run_graph(orders, edges, attempt.site, on_event, stop)
    except KeyboardInterrupt:
        return "interrupted", endings, "stopped at once, being asked twice"
    except Exception as error:  # after a signal to the whole process group, Ray may have died of it as well
        return "interrupted" if stop.is_set() else "failed", endings, f"{type(error).__name__}: {error}"
    endings |= {step: StepEnding(item.ending, item.reason, item.details) for step, item in outcomes.items()}
    return _overall({ending.ending for ending in endings.values()}), endings, ""


def _overall(endings: set[str]) -> AttemptOutcome:
    if endings <= {"committed", "reused"}:
        return "done"
    if "failed" in endings:
        return "failed"
    return "superseded" if "superseded" in endings else "interrupted"


def orders_of(plan: Plan, run: Run, attempt: int) -> dict[str, StepSpec]:
    """What is to be made, as orders that travel; inputs first."""
    request, orders = plan.request, {}
    ended = frozenset(str(AttemptId(run.name, number)) for number in range(1, attempt) if run.end(number) is not None)
    for name in plan.to_make:
        step = request.step(name)
        stage, recipe = request.load_step(name)
        orders[name] = StepSpec(
            step=name,
            stage=stage,
            recipe=recipe,
            fingerprint=step.fingerprint,
            inputs={edge: (item.stage, item.fingerprint) for edge, item in step.inputs.items()},
            store=run.store,
            attempt=AttemptId(run.name, attempt),
            provenance=_provenance(request, name),
            allows_rollback=plan.allows_rollback,
            ended_attempts=ended,
        )
    return orders


def point_name(store: Store, request: Request, name: str, run: str, *, made_anew: bool = False) -> None:
    """Point `pipeline/step` at what is committed, unless it points there already: at this very manifest, if that was
    just `made_anew`."""
    step = request.step(name)
    ref = f"{request.pipeline}/{name}"
    current = store.ref(ref)
    if current is None or current["fingerprint"] != step.fingerprint or made_anew:
        data = store.read(f"{artifact_folder(step.stage, step.fingerprint)}/manifest.json") or b""
        sha256 = hashlib.sha256(data).hexdigest()
        pointed = {"stage": step.stage, "fingerprint": step.fingerprint, "manifest_sha256": sha256, "run": run}
        if current is None or current | {"run": run} != pointed:
            with fault_point("ref.set", ref):
                store.set_ref(ref, pointed)


def point_at_run(run: Run) -> None:
    """Let the pipeline's name mean this run, unless it does already."""
    current = run.store.ref(run.request.pipeline)
    if current is None or current["run"] != run.name:
        with fault_point("ref.set", run.request.pipeline):
            run.store.set_ref(run.request.pipeline, {"run": run.name})


def _provenance(request: Request, step: str) -> dict[str, Any]:
    """Who asked: for people, never hashed."""
    file = {"user_file_sha256": request.user_file.sha256} if request.user_file else {}
    return {"pipeline": request.pipeline, "step": step, **file}


def _items(store: Store, step: FrozenStep) -> Any:
    manifest = read_head(store, step.stage, step.fingerprint)
    assert manifest is not None, "a reused step is committed"
    return manifest.items
