"""The thread that carries messages from outboxes to the tracker, and gives up nothing when the tracker is away.

Runs beside the steps and costs them nothing: it reads the store, talks to the tracker, and marks what was taken.
What it could not deliver waits in the store for the next command.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable
from urllib.parse import urlsplit

from pipelines.outbox import Message, Outbox
from pipelines.runs import AttemptOutcome, Run, all_runs
from pipelines.tracking import ENVIRONMENT, Tracker
from stages.artifact import read_manifest
from stages.events import StepEnded
from stages.faults import fault_point
from stages.liveness import Observer
from stages.store import Store

SECONDS_BETWEEN_ROUNDS = 2.0
MAX_SECONDS_BETWEEN_TRIES = 60.0
PATIENCE_SECONDS = 60.0
"""How long the end of a command waits for a tracker that answers."""
MAX_PROBLEM_CHARACTERS = 120
KNOCK_SECONDS = 2.0
PORTS = {"http": 80, "https": 443}


class Courier:
    """Delivers the pending messages of some runs, in order, until it is closed."""

    def __init__(self, uri: str, runs: Iterable[Run]) -> None:
        os.environ.update(ENVIRONMENT)
        self._uri = uri
        self._runs = list(runs)
        self._tracker: Tracker | None = None
        self._problem = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the tracker took no message lately, or ''."""
        return self._problem

    def close(self, patience_seconds: float = PATIENCE_SECONDS) -> int:
        """Deliver what is left, as long as the tracker answers; returns how many messages wait for the next command."""
        self._closing.set()
        self._thread.join(patience_seconds)
        return sum(len(Outbox(run.store, run.name).pending()) for run in self._runs)

    def _work(self) -> None:
        wait_seconds = SECONDS_BETWEEN_ROUNDS
        while True:
            closing = self._closing.is_set()
            try:
                self._deliver_all()
                self._problem, wait_seconds = "", SECONDS_BETWEEN_ROUNDS
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}".partition("\n")[0][:MAX_PROBLEM_CHARACTERS]
                wait_seconds = min(2 * wait_seconds, MAX_SECONDS_BETWEEN_TRIES)
            if closing:
                return
            self._closing.wait(wait_seconds)

    def _deliver_all(self) -> None:
        for run in self._runs:
            outbox = Outbox(run.store, run.name)
            for key in outbox.pending():
                if self._tracker is None:
                    knock(self._uri)
                    self._tracker = Tracker(self._uri)
                message = outbox.read(key)
                with fault_point("tracker.op_sent", key):
                    self._tracker.deliver(run, message)
                outbox.mark_sent(key)


def knock(uri: str) -> None:
    """Find out in no time whether anybody listens at a server's address. Raises OSError if not."""
    place = urlsplit(uri)
    if place.hostname and place.scheme in PORTS:
        socket.create_connection((place.hostname, place.port or PORTS[place.scheme]), KNOCK_SECONDS).close()


def reconcile(store: Store) -> list[Run]:
    """Say how each attempt ended that is known to be dead; returns the runs whose messages wait for the tracker."""
    waiting: list[Run] = []
    for run in all_runs(store):
        is_over = bury_dead(run, Observer(store))
        if is_over and Outbox(store, run.name).pending():
            waiting.append(run)
    return waiting


def bury_dead(run: Run, observer: Observer, but: int | None = None) -> bool:
    """Say of each dead attempt of a run how it ended. True if none is left that may be at work, beside `but`."""
    observations = [found for found in run.under_way(observer) if found.record.number != but]
    dead = [observation for observation in observations if observation.life == "dead"]
    for observation in dead:
        _bury(run, observation.record.number, observation.why_dead)
    return len(dead) == len(observations)


def settle(store: Store, uri: str) -> None:
    """Reconcile, and tell the tracker what it was not told. Costs next to nothing where all is told."""
    waiting = reconcile(store)
    if waiting:
        Courier(uri, waiting).close()


def _bury(run: Run, number: int, why: str) -> None:
    """A dead attempt was killed, or it had made everything and died before it could say so."""
    manifests = {step.name: read_manifest(run.store, step.stage, step.fingerprint) for step in run.request.steps}
    attempt = f"{run.name}-{number}"
    untold = [
        StepEnded(step=name, outcome="committed", items=manifest.items)
        for name, manifest in manifests.items()
        if manifest is not None and manifest.provenance.get("attempt") == attempt
    ]
    outbox = Outbox(run.store, run.name)
    if untold:
        outbox.append(Message(kind="events", attempt=number, events=tuple(untold)))
    outcome: AttemptOutcome = "done" if all(manifests.values()) else "killed"
    outbox.append(Message(kind="attempt_ended", attempt=number, outcome=outcome, reason=why))
    run.end_attempt(number, outcome, why)
