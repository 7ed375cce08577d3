"""Delivers queued messages to MLflow, with backoff; what is not delivered stays in the store for the next command.

A thread beside the steps reads the outboxes of runs, sends their messages in order, and marks each one as sent.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from cluster.listening import DEFAULT_PORTS, check_listening
from pipelines.runs.attempts import reconcile
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import Run
from pipelines.tracking.server import ENVIRONMENT, Tracker, is_refusal
from stages.store.fault_points import fault_point
from stages.store.store import Store

SECONDS_BETWEEN_ROUNDS = 2.0
MAX_SECONDS_BETWEEN_TRIES = 60.0
CLOSE_TIMEOUT_SECONDS = 60.0
"""Longest time that a command waits at its end for deliveries under way."""
MAX_PROBLEM_CHARACTERS = 120
REACH_TIMEOUT_SECONDS = 2.0
RETRY_PAUSES_SECONDS = (0.5, 2.0)


class DeliveryThread:
    """A thread that delivers the pending messages of some runs, in order, until it is closed."""

    def __init__(self, uri: str, runs: Iterable[Run]) -> None:
        os.environ.update(ENVIRONMENT)
        self._uri = uri
        self._outboxes = [(run, Outbox(run.store, run.name)) for run in runs]
        self._tracker: Tracker | None = None
        self._problem = self._refusal = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the last delivery failed, or a message was rejected for good; '' without either."""
        return self._problem or self._refusal

    def close(self) -> int:
        """Deliver what is pending, then end the thread; returns how many messages stay for the next command."""
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_SECONDS)
        return sum(outbox.num_pending() for _, outbox in self._outboxes)

    def _work(self) -> None:
        wait_seconds = SECONDS_BETWEEN_ROUNDS
        while True:
            closing = self._closing.is_set()
            try:
                self._deliver_all()
                self._problem, wait_seconds = "", SECONDS_BETWEEN_ROUNDS
            except Exception as error:
                self._problem = _in_short(error)
                wait_seconds = min(2 * wait_seconds, MAX_SECONDS_BETWEEN_TRIES)
            if closing:
                return
            self._closing.wait(wait_seconds)

    def _deliver_all(self) -> None:
        for run, outbox in self._outboxes:
            for key in outbox.pending():
                if self._tracker is None:
                    check_reachable(self._uri)
                    self._tracker = Tracker(self._uri)
                self._refusal = _deliver_and_mark(self._tracker, run, outbox, key) or self._refusal


class NotDeliveredError(RuntimeError):
    """A delivery failed; the text says why, in one line."""


def mirror(uri: str, runs: Iterable[Run]) -> int:
    """Deliver every message of these runs again, ordered by time over all of them; returns their number.

    An empty tracker ends with the pages that the first one had; existing pages stay as they are. Raises
    `NotDeliveredError` at the first message that fails.
    """
    os.environ.update(ENVIRONMENT)
    num_delivered = 0
    try:
        check_reachable(uri)
        tracker = Tracker(uri)
        for _, run, outbox, key in heapq.merge(*map(_history, runs), key=lambda one: one[0]):
            _deliver_and_mark(tracker, run, outbox, key)
            num_delivered += 1
    except Exception as error:
        raise NotDeliveredError(f"after {num_delivered} messages: {_in_short(error)}") from error
    return num_delivered


def _history(run: Run) -> Iterator[tuple[float, Run, Outbox, str]]:
    """The messages of one run, each with the time at which it was kept."""
    outbox = Outbox(run.store, run.name)
    return ((outbox.read(key).at_seconds, run, outbox, key) for key in outbox.kept())


def _deliver_and_mark(tracker: Tracker, run: Run, outbox: Outbox, key: str) -> str:
    """Deliver one message, then mark it as sent: killed in between, it is delivered again, which changes nothing.

    A message that MLflow rejects for good must not block those after it: it is marked as sent with the reason, which
    is returned; '' where it was accepted.
    """
    message = outbox.read(key)
    with fault_point("tracker.op_sent", key):
        refusal = _deliver(tracker, run, message)
    refusal = f"it rejected {key} for good: {refusal}" if refusal else ""
    outbox.mark_sent(key, refusal)
    return refusal


def _deliver(tracker: Tracker, run: Run, message: Message) -> str:
    """Deliver one message; returns why MLflow rejects it for good, or ''. Raises any other error.

    Another command may have changed the pages since their ids were cached, so a rejection is retried with an empty
    cache before it counts.
    """
    refusal = ""
    for pause_seconds in (0.0, *RETRY_PAUSES_SECONDS):
        time.sleep(pause_seconds)
        try:
            tracker.deliver(run, message)
        except Exception as error:
            if not is_refusal(error):
                raise
            refusal = _in_short(error)
            tracker.forget_pages()
        else:
            return ""
    return refusal


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:MAX_PROBLEM_CHARACTERS].rstrip(".")


def check_reachable(uri: str) -> None:
    """Check within two seconds that a server listens; a SQLite file always is. Raises OSError if not."""
    if urlsplit(uri).scheme in DEFAULT_PORTS:
        check_listening(uri, REACH_TIMEOUT_SECONDS)


def deliver_pending(store: Store, uri: str) -> None:
    """Record the end of dead attempts, then deliver what is pending. Reads a few keys a run where nothing is."""
    waiting = reconcile(store)
    if waiting:
        DeliveryThread(uri, waiting).close()
