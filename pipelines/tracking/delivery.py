"""The thread that carries messages from outboxes to the tracker, and gives up nothing when the tracker is away.

Runs beside the steps and costs them nothing: it reads the store, talks to the tracker, and marks what was taken.
What it could not deliver waits in the store for the next command.
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
"""How long the end of a command waits for a tracker that answers."""
MAX_PROBLEM_CHARACTERS = 120
REACH_TIMEOUT_SECONDS = 2.0
RETRY_PAUSES_SECONDS = (0.5, 2.0)


class DeliveryThread:
    """Delivers the pending messages of some runs, in order, until it is closed."""

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
        """Why the tracker took no message lately or refused one for good, or ''."""
        return self._problem or self._refusal

    def close(self) -> int:
        """Deliver what is left, as long as the tracker answers; returns how many messages wait for the next command."""
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
                self._refusal = _tell(self._tracker, run, outbox, key) or self._refusal


class NotDeliveredError(RuntimeError):
    """The tracker did not take a message; the message says why, in one line."""


def mirror(uri: str, runs: Iterable[Run]) -> int:
    """Tell a tracker everything about these runs once more, in the order in which it happened over all of them.

    An empty tracker has the same pages afterwards as the one that heard it at the time; one that has them keeps them
    as they are. Returns the number of messages. Raises `NotDeliveredError` where the tracker takes one not.
    """
    os.environ.update(ENVIRONMENT)
    num_told = 0
    try:
        check_reachable(uri)
        tracker = Tracker(uri)
        for _, run, outbox, key in heapq.merge(*map(_history, runs), key=lambda told: told[0]):
            _tell(tracker, run, outbox, key)
            num_told += 1
    except Exception as error:
        raise NotDeliveredError(f"after {num_told} messages: {_in_short(error)}") from error
    return num_told


def _history(run: Run) -> Iterator[tuple[float, Run, Outbox, str]]:
    """The messages of one run, each with the time at which it was kept."""
    outbox = Outbox(run.store, run.name)
    return ((outbox.read(key).at_seconds, run, outbox, key) for key in outbox.kept())


def _tell(tracker: Tracker, run: Run, outbox: Outbox, key: str) -> str:
    """Deliver one message, then mark it: killed in between, it is delivered again, which changes nothing.

    One that the tracker will never take must not keep those after it waiting: it is marked with the reason, which is
    returned; '' where it was taken.
    """
    message = outbox.read(key)
    with fault_point("tracker.op_sent", key):
        refusal = _deliver(tracker, run, message)
    refusal = f"it refused {key} for good: {refusal}" if refusal else ""
    outbox.mark_sent(key, refusal)
    return refusal


def _deliver(tracker: Tracker, run: Run, message: Message) -> str:
    """Deliver one message; returns why the tracker refuses it for good, or ''.

    Another command may have changed the pages since they were looked for: a refusal counts once it has been repeated
    with all forgotten that was known of them.
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
    """Find out in no time whether anybody listens at a server's address. Raises OSError if not."""
    if urlsplit(uri).scheme in DEFAULT_PORTS:
        check_listening(uri, REACH_TIMEOUT_SECONDS)


def deliver_pending(store: Store, uri: str) -> None:
    """Reconcile, and tell the tracker what it was not told. Costs next to nothing where all is told."""
    waiting = reconcile(store)
    if waiting:
        DeliveryThread(uri, waiting).close()
