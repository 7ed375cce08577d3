"""How attempts end: said by themselves, or by whoever knows them dead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import AttemptOutcome, Run, all_runs
from stages.artifacts.manifest import read_head
from stages.commit.heartbeat import Observer
from stages.contract import StepEnded
from stages.store.store import Store

RUNS_AT_A_TIME = 16
"""Runs looked at together: each costs a few round trips to the store, and a store keeps runs for years."""


def reconcile(store: Store) -> list[Run]:
    """Say how each attempt ended that is known to be dead; returns the runs whose messages wait for the tracker."""

    def waits(run: Run) -> bool:
        return end_dead_attempts(run, Observer(store)) and Outbox(store, run.name).num_pending() > 0

    runs = all_runs(store)
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return [run for run, is_waiting in zip(runs, pool.map(waits, runs), strict=True) if is_waiting]


def end_dead_attempts(run: Run, observer: Observer, but: int | None = None) -> bool:
    """Say of each dead attempt of a run how it ended. True if none is left that may be at work, beside `but`."""
    observations = [found for found in run.open_attempts(observer) if found.record.number != but]
    dead = [observation for observation in observations if observation.life == "dead"]
    for observation in dead:
        _bury(run, observation.record.number, observation.death_reason)
    return len(dead) == len(observations)


def end_attempt(run: Run, number: int, outcome: AttemptOutcome, reason: str) -> None:
    """Say how an attempt ended, for the tracker first: killed in between, the attempt is open and is ended again."""
    message = Message(kind="attempt_ended", attempt=number, outcome=outcome, reason=reason)
    Outbox(run.store, run.name).append(message)
    run.end_attempt(number, outcome, reason)


def supersede(run: Run, why: str) -> list[int]:
    """End what is under way of a run, alive or not, in favour of an attempt to come; returns the numbers.

    Whatever still works finds its attempt ended, or its claim taken over, and commits nothing more.
    """
    numbers = [found.record.number for found in run.open_attempts()]
    for number in numbers:
        end_attempt(run, number, "superseded", why)
    return numbers


def _bury(run: Run, number: int, why: str) -> None:
    """A dead attempt was killed, or it had made everything and died before it could say so."""
    manifests = {step.name: read_head(run.store, step.stage, step.fingerprint) for step in run.request.steps}
    attempt = f"{run.name}-{number}"
    untold = [
        StepEnded(step=name, outcome="committed", items=manifest.items)
        for name, manifest in manifests.items()
        if manifest is not None and manifest.provenance.get("attempt") == attempt
    ]
    if untold:
        Outbox(run.store, run.name).append(Message(kind="events", attempt=number, events=tuple(untold)))
    outcome: AttemptOutcome = "done" if all(manifests.values()) else "killed"
    end_attempt(run, number, outcome, why)
