"""Delivery of queued messages to MLflow, in order, with retries and backoff.

Owns the thread that reads the outboxes of runs, delivers their messages and marks each as sent, and `mirror`, which
delivers all of them again. Messages that are not delivered stay in the store for the next command.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from cluster.listening import DEFAULT_PORTS, check_listening
from pipelines.runs.attempts import reconcile, settle
from pipelines.runs.outbox import MESSAGE, Message, Outbox
from pipelines.runs.run import Run
from pipelines.tracking.server import ENVIRONMENT, Tracker, is_rejection
from stages.store.errors import (
    DiskFullError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
    TornRecordError,
)
from stages.store.fault_points import fault_point
from stages.store.store import Store

SECONDS_BETWEEN_ROUNDS = 2.0
"""Pause between two looks at the outboxes. After a failure it doubles, up to `MAX_SECONDS_BETWEEN_TRIES`."""
MAX_SECONDS_BETWEEN_TRIES = 60.0
CLOSE_TIMEOUT_SECONDS = 60.0
"""Longest time that `neo run` waits for the deliveries in progress when it ends, or has nothing to make."""
READER_TIMEOUT_SECONDS = 2.0
"""Longest time that any other command waits for a tracker, beside the import of mlflow."""
MAX_PROBLEM_CHARACTERS = 120
REACH_TIMEOUT_SECONDS = 2.0
OF_NOW = (DiskFullError, StoreDeniedError, StoreUnavailableError)
"""Errors of the store that a later try may not meet."""
RETRY_PAUSES_SECONDS = (0.5, 2.0)
"""Pauses before the second and third try of a message that MLflow rejects."""


class DeliveryThread:
    """Delivers the pending messages of some runs from a thread of its own, until it is closed."""

    def __init__(self, uri: str, runs: Iterable[Run]) -> None:
        os.environ.update(ENVIRONMENT)
        self._uri = uri
        self._outboxes = [(run, Outbox(run.store, run.name)) for run in runs]
        self._tracker: Tracker | None = None
        self._problem = self._rejection = ""
        self._closing, self._leaving, self._loaded = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the last delivery failed, or a message was rejected for good; '' without either."""
        return self._problem or self._rejection

    def route(self, run: Run) -> str:
        """Where MLflow's site shows a run, below its address; '' where nothing of it was delivered here."""
        return self._tracker.route(run) if self._tracker is not None else ""

    def close(self) -> int:
        """Deliver pending messages, then end the thread; returns how many are left for the next command."""
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_SECONDS)
        return sum(outbox.num_pending() for _, outbox in self._outboxes)

    def leave(self, timeout_seconds: float) -> int:
        """As `close`, but wait no longer than `timeout_seconds`, beside the import of mlflow.

        Returns how many messages are left because the time was over; 0 if the tracker took all, or did not answer.
        """
        self._closing.set()
        self._loaded.wait()
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            return 0
        self._leaving.set()
        return sum(outbox.num_pending() for _, outbox in self._outboxes)

    def _work(self) -> None:
        wait_seconds = SECONDS_BETWEEN_ROUNDS
        while True:
            closing = self._closing.is_set()
            try:
                self._deliver_all()
                self._loaded.set()
                self._problem, wait_seconds = "", SECONDS_BETWEEN_ROUNDS
            except Exception as error:
                self._problem = _in_short(error)
                self._loaded.set()
                wait_seconds = min(2 * wait_seconds, MAX_SECONDS_BETWEEN_TRIES)
            if closing:
                return
            self._closing.wait(wait_seconds)

    def _deliver_all(self) -> None:
        for run, outbox in self._outboxes:
            for key in outbox.pending():
                if self._leaving.is_set():
                    return
                if self._tracker is None:
                    self._tracker = self._connected()
                self._rejection = _deliver_and_mark(self._tracker, run, outbox, key) or self._rejection

    def _connected(self) -> Tracker:
        check_reachable(self._uri)
        import mlflow  # noqa: F401  (takes seconds, which are not the tracker's)

        self._loaded.set()
        return Tracker(self._uri)


class NotDeliveredError(RuntimeError):
    """A delivery failed; the message is one line with the cause."""


def mirror(uri: str, runs: Iterable[Run]) -> int:
    """Deliver every message of these runs again, ordered by time over all of them; returns their number.

    An empty tracker gets the pages that the first one had; existing pages do not change. Raises `NotDeliveredError` at
    the first message that fails.
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
    """(time, run, outbox, key) of each message of a run that can be read, in order."""
    outbox = Outbox(run.store, run.name)
    for key in outbox.kept():
        message = MESSAGE.read_or_skip(run.store, key)
        if message is not None:
            yield message.at_seconds, run, outbox, key


def _deliver_and_mark(tracker: Tracker, run: Run, outbox: Outbox, key: str) -> str:
    """Deliver one message and mark it as sent; returns why MLflow rejected it for good, or ''.

    Killed in between, the message is delivered again, which changes nothing. A message that is rejected, or cannot be
    read, is marked as sent, with the reason, since it must not block those after it.
    """
    try:
        message = outbox.read(key)
    except TornRecordError as error:
        outbox.mark_sent(key, f"it cannot be read: {error}")
        return f"{key} cannot be read"
    with fault_point("tracker.op_sent", key):
        rejection = _deliver(tracker, run, message)
    rejection = f"it rejected {key} for good: {rejection}" if rejection else ""
    outbox.mark_sent(key, rejection)
    return rejection


def _deliver(tracker: Tracker, run: Run, message: Message) -> str:
    """Deliver one message; returns why it can never be delivered whole, or ''. Raises any other error.

    That is a rejection by MLflow, or a file of the store that is missing or damaged, which its page then lacks.

    A rejection is retried with an empty cache of page ids, since another command may have deleted a cached page.
    """
    rejection = ""
    for pause_seconds in (0.0, *RETRY_PAUSES_SECONDS):
        time.sleep(pause_seconds)
        try:
            tracker.deliver(run, message)
        except Exception as error:
            if isinstance(error, StoreError) and not isinstance(error, OF_NOW):
                return f"what its page shows cannot be read: {_in_short(error)}"
            if not is_rejection(error):
                raise
            rejection = _in_short(error)
            tracker.forget_pages()
        else:
            return ""
    return rejection


def _in_short(error: Exception) -> str:
    """The type and the first line of an error."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:MAX_PROBLEM_CHARACTERS].rstrip(".")


def check_reachable(uri: str) -> None:
    """Check within two seconds that a server listens; a SQLite file always is. Raises OSError if not."""
    if urlsplit(uri).scheme in DEFAULT_PORTS:
        check_listening(uri, REACH_TIMEOUT_SECONDS)


def deliver_pending(store: Store, uri: str, *, patiently: bool = False) -> int:
    """Record the end of dead attempts, then deliver pending messages, for a command that has other things to do.

    Returns how many messages a slow tracker left to later commands. That is after `READER_TIMEOUT_SECONDS`; `patiently`
    after `CLOSE_TIMEOUT_SECONDS`, in which a message arrives that takes long, such as one with a model to copy, and
    which a command that waits two seconds would begin anew each time. Settled runs cost a request each.
    """
    runs = reconcile(store)
    if not runs:
        return 0
    num_left = DeliveryThread(uri, runs).leave(CLOSE_TIMEOUT_SECONDS if patiently else READER_TIMEOUT_SECONDS)
    for run in runs:
        settle(run)
    return num_left
