"""The end of attempts: recorded by their own driver, or by the command that finds them dead or supersedes them.

The end is queued for MLflow first and recorded second. A command that is killed in between leaves the attempt open, and
the next command ends it again.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from pipelines.runs.in_brief import RUNS_AT_A_TIME
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import AttemptEnd, AttemptOutcome, AttemptRecord, Run, all_runs
from pipelines.runs.settled import Settled, mark_settled, settled_runs
from stages.artifacts.head import read_head
from stages.commit.heartbeat import Observer, lived_seconds
from stages.contract import StepEnded
from stages.store.errors import MissingRecordError, TornRecordError
from stages.store.record_kind import skip_unreadable
from stages.store.store import Store

logger = logging.getLogger(__name__)


def reconcile(store: Store, *, settles: bool = False) -> list[Run]:
    """End every attempt that is known to be dead; returns the runs with messages that MLflow has not received.

    Runs with an attempt that may be alive are left out: their own driver delivers their messages. So are runs with a
    record that cannot be read, with a warning. Settled runs cost a request each. `settles` marks the others that turn
    out to be settled: for commands that write to the store anyway.
    """

    def is_undelivered(run: Run) -> bool:
        try:
            if not end_dead_attempts(run, Observer(store)):
                return False
            if Outbox(store, run.name).has_pending():
                return True
        except (TornRecordError, MissingRecordError) as error:
            skip_unreadable(error)
            return False
        if settles:
            settle(run)
        return False

    settled = settled_runs(store)
    runs = [run for run in all_runs(store) if run.name not in settled]
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return [run for run, is_pending in zip(runs, pool.map(is_undelivered, runs), strict=True) if is_pending]


def settle(run: Run) -> None:
    """Mark a run as settled, if every attempt has ended and MLflow has every message. Never raises.

    The mark names what was counted before it is written, so an attempt or a message that comes meanwhile refutes it.
    """
    try:
        standing, outbox = run.standing(), Outbox(run.store, run.name)
        if not standing.has_ended:
            return
        num_messages = outbox.num_messages()  # after the ends, as a driver records its end after its last message
        if outbox.has_pending() or standing.last is None:
            return
        mark = Settled(
            num_attempts=standing.num_attempts,
            num_messages=num_messages,
            outcome=standing.state,
            begun_milliseconds=round(standing.last.at_seconds * 1000),
            may_be_late=any(map(_may_be_late, run.ends(standing.num_attempts))),
        )
        mark_settled(run.store, run.name, mark)
    except Exception:  # later commands then read the run in full
        logger.info("run %s could not be marked as settled", run.name, exc_info=True)


def _may_be_late(end: AttemptEnd | None) -> bool:
    """Whether an end may have been recorded by another process than the driver, which then may live and write yet.

    A driver records `failed` and `interrupted` itself, after its last message, and `done` without a reason.
    """
    return end is None or end.outcome in ("killed", "superseded") or (end.outcome == "done" and bool(end.reason))


def end_dead_attempts(run: Run, observer: Observer, but: int | None = None) -> bool:
    """Record the end of each dead attempt of a run, except attempt number `but`.

    Returns whether all the others are dead: False if one is alive or out of contact.
    """
    observations = [one for one in run.open_attempts(observer) if one.record.number != but]
    dead = [observation for observation in observations if observation.life == "dead"]
    for observation in dead:
        _end_dead(run, observation.record, observation.death_reason)
    return len(dead) == len(observations)


def end_attempt(
    run: Run, number: int, outcome: AttemptOutcome, reason: str, last_sign_seconds: float | None = None
) -> None:
    """Queue the end of an attempt for MLflow, then record it. An end recorded earlier stays."""
    message = Message(kind="attempt_ended", attempt=number, outcome=outcome, reason=reason)
    Outbox(run.store, run.name).append(message)
    run.end_attempt(number, outcome, reason, last_sign_seconds)


def supersede(run: Run, why: str) -> list[int]:
    """End the open attempts of a run, alive or dead, as superseded by the next one; returns their numbers.

    A driver that is still alive finds its attempt ended, or its claim taken over, and commits nothing more.
    """
    records = [one.record for one in run.open_attempts()]
    for record in records:
        end_attempt(run, record.number, "superseded", why, _last_sign_seconds(run, record))
    return [record.number for record in records]


def _last_sign_seconds(run: Run, record: AttemptRecord) -> float:
    return record.at_seconds + lived_seconds(run.store, run.heartbeat_key(record.number))


def _end_dead(run: Run, record: AttemptRecord, why: str) -> None:
    """End a dead attempt: as `done` if every step is committed and only the end was not recorded, else as `killed`.

    Steps that it committed are reported again, since its last events may have died with it; MLflow pages that have
    them do not change.
    """
    manifests = {step.name: read_head(run.store, step.stage, step.fingerprint) for step in run.request.steps}
    attempt = f"{run.name}-{record.number}"
    unreported = [
        StepEnded(step=name, outcome="committed", items=manifest.items)
        for name, manifest in manifests.items()
        if manifest is not None and manifest.provenance.get("attempt") == attempt
    ]
    if unreported:
        Outbox(run.store, run.name).append(Message(kind="events", attempt=record.number, events=tuple(unreported)))
    outcome: AttemptOutcome = "done" if all(manifests.values()) else "killed"
    end_attempt(run, record.number, outcome, why, _last_sign_seconds(run, record))
