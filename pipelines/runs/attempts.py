"""How attempts end: recorded by themselves, or by the command that finds them dead or replaces them.

The end goes into the outbox first and then on record. Killed in between, the attempt is open and is ended again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import AttemptOutcome, Run, all_runs
from stages.artifacts.manifest import read_head
from stages.commit.heartbeat import Observer
from stages.contract import StepEnded
from stages.store.store import Store

RUNS_AT_A_TIME = 16
"""Runs read in parallel: each costs a few round trips to the store, and a store keeps runs for years."""


def reconcile(store: Store) -> list[Run]:
    """End every attempt that is known to be dead; returns the runs with messages that MLflow has not received.

    Runs with an attempt that may be alive are left out: their own driver delivers.
    """

    def waits(run: Run) -> bool:
        return end_dead_attempts(run, Observer(store)) and Outbox(store, run.name).num_pending() > 0

    runs = all_runs(store)
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return [run for run, is_waiting in zip(runs, pool.map(waits, runs), strict=True) if is_waiting]


def end_dead_attempts(run: Run, observer: Observer, but: int | None = None) -> bool:
    """Record the end of each dead attempt of a run. True if no attempt but number `but` may still be alive."""
    observations = [one for one in run.open_attempts(observer) if one.record.number != but]
    dead = [observation for observation in observations if observation.life == "dead"]
    for observation in dead:
        _end_dead(run, observation.record.number, observation.death_reason)
    return len(dead) == len(observations)


def end_attempt(run: Run, number: int, outcome: AttemptOutcome, reason: str) -> None:
    """Queue the end of an attempt for MLflow, then put it on record. Killed in between, it is ended again."""
    message = Message(kind="attempt_ended", attempt=number, outcome=outcome, reason=reason)
    Outbox(run.store, run.name).append(message)
    run.end_attempt(number, outcome, reason)


def supersede(run: Run, why: str) -> list[int]:
    """End the open attempts of a run, alive or not, in favour of the next one; returns their numbers.

    A process that is still alive finds its attempt ended, or its claim taken over, and commits nothing more.
    """
    numbers = [one.record.number for one in run.open_attempts()]
    for number in numbers:
        end_attempt(run, number, "superseded", why)
    return numbers


def _end_dead(run: Run, number: int, why: str) -> None:
    """End a dead attempt: `done` if every step is committed, since it died before it recorded that; else `killed`."""
    manifests = {step.name: read_head(run.store, step.stage, step.fingerprint) for step in run.request.steps}
    attempt = f"{run.name}-{number}"
    unreported = [
        StepEnded(step=name, outcome="committed", items=manifest.items)
        for name, manifest in manifests.items()
        if manifest is not None and manifest.provenance.get("attempt") == attempt
    ]
    if unreported:
        Outbox(run.store, run.name).append(Message(kind="events", attempt=number, events=tuple(unreported)))
    outcome: AttemptOutcome = "done" if all(manifests.values()) else "killed"
    end_attempt(run, number, outcome, why)
