"""Driver heartbeat: raises the attempt's counter in the store, and polls for stop requests and for being superseded.

One thread beside the attempt. It also ends earlier attempts of the run that turn out to be dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pipelines.runs.attempts import end_dead_attempts
from pipelines.runs.run import Run
from stages.commit.heartbeat import Heartbeat, Observer
from stages.store.errors import StoreError


class DriverHeartbeat:
    """The heartbeat of one attempt, until `end`. `say` prints a line for the person at the screen."""

    def __init__(self, run: Run, number: int, say: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        """Set when the attempt must stop at its next commit: after a signal, `neo cancel`, or being superseded."""
        self.superseded = ""
        """Why this attempt is no longer the current one of its run, or ''."""
        self._run = run
        self._number = number
        self._say = say
        self._observer = Observer(run.store)
        self._others_may_live = number > 1
        self._heartbeat = Heartbeat(run.store, run.heartbeat_key(number), self._poll)

    def is_stop_requested(self) -> bool:
        """Whether `neo cancel` has asked for a stop. False while the store does not answer."""
        with suppress(StoreError):
            return self._run.is_stop_requested(self._number)
        return False

    def end(self) -> str:
        """Stop the heartbeat. Returns why this attempt is no longer the current one of its run, or ''."""
        self._heartbeat.stop()
        with suppress(StoreError):
            self._check_superseded()
        return self.superseded

    def _poll(self) -> None:
        """Called after each beat, in the heartbeat's thread."""
        if not self.stop.is_set():
            self._check_superseded()
            if self.superseded:
                self._stop(f"{self.superseded}. Stopping; what is committed stays.")
            elif self._run.is_stop_requested(self._number):
                self._stop("Asked to stop by `neo cancel`: stopping at the next commit; what is committed stays.")
        if self._others_may_live:
            self._others_may_live = not end_dead_attempts(self._run, self._observer, but=self._number)

    def _check_superseded(self) -> None:
        """Look whether another command, which saw no heartbeat of this attempt, has recorded its end."""
        if (end := self._run.end(self._number)) is not None:
            later = self._run.num_attempts
            self.superseded = f"another command took this attempt for dead ({end.reason})"
            if later > self._number:
                self.superseded = f"superseded by attempt {later} of run {self._run.name}"

    def _stop(self, words: str) -> None:
        self._say(words)
        self.stop.set()
