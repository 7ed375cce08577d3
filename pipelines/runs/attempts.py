"""The end of attempts: recorded by their own driver, or by the command that finds them dead or supersedes them.

The end is queued for MLflow first and recorded second. A command that is killed in between leaves the attempt open, and
the next command ends it again.
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
"""Number of runs that are read in parallel: each costs a few round trips to the store, and runs are kept for years."""


def reconcile(store: Store) -> list[Run]:
    """End every attempt that is known to be dead; returns the runs with messages that MLflow has not received.

    Runs with an attempt that may be alive are left out: their own driver delivers their messages.
    """

    def is_undelivered(run: Run) -> bool:
        return end_dead_attempts(run, Observer(store)) and Outbox(store, run.name).num_pending() > 0

    runs = all_runs(store)
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return [run for run, is_pending in zip(runs, pool.map(is_undelivered, runs), strict=True) if is_pending]


def end_dead_attempts(run: Run, observer: Observer, but: int | None = None) -> bool:
    """Record the end of each dead attempt of a run, except attempt number `but`.

    Returns whether all the others are dead: False if one is alive or out of contact.
    """
    observations = [one for one in run.open_attempts(observer) if one.record.number != but]
    dead = [observation for observation in observations if observation.life == "dead"]
    for observation in dead:
        _end_dead(run, observation.record.number, observation.death_reason)
    return len(dead) == len(observations)


def end_attempt(run: Run, number: int, outcome: AttemptOutcome, reason: str) -> None:
    """Queue the end of an attempt for MLflow, then record it. An end recorded earlier stays."""
    message = Message(kind="attempt_ended", attempt=number, outcome=outcome, reason=reason)
    Outbox(run.store, run.name).append(message)
    run.end_attempt(number, outcome, reason)


def supersede(run: Run, why: str) -> list[int]:
    """End the open attempts of a run, alive or dead, as superseded by the next one; returns their numbers.

    A driver that is still alive finds its attempt ended, or its claim taken over, and commits nothing more.
    """
    numbers = [one.record.number for one in run.open_attempts()]
    for number in numbers:
        end_attempt(run, number, "superseded", why)
    return numbers


def _end_dead(run: Run, number: int, why: str) -> None:
    """End a dead attempt: as `done` if every step is committed and only the end was not recorded, else as `killed`.

    Steps that it committed are reported again, since its last events may have died with it; MLflow pages that have
    them do not change.
    """
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
