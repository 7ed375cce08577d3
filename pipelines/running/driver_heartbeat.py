"""The driver's sign of life, and its ear: one thread beside the attempt.

Raises the attempt's counter, hears requests to stop, notices that others took the attempt for dead, and says of earlier
attempts of the run that they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pipelines.runs.attempts import end_dead_attempts
from pipelines.runs.run import Run
from stages.commit.heartbeat import Heart, Observer
from stages.store.errors import StoreError


class Pulse:
    """Beats for one attempt until it ends. `say` tells the person at the screen."""

    def __init__(self, run: Run, number: int, say: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        """Set where the attempt is to stop at its next commit, by whomever."""
        self.superseded = ""
        """Why the attempt is no longer the run's, or ''."""
        self._run = run
        self._number = number
        self._say = say
        self._observer = Observer(run.store)
        self._others_may_live = number > 1
        self._heart = Heart(run.store, run.heartbeat_key(number), self._listen)

    def end(self) -> str:
        """No beat comes after this. Returns why the attempt is no longer the run's, or ''."""
        self._heart.stop()
        with suppress(StoreError):
            self._notice_burial()
        return self.superseded

    def _listen(self) -> None:
        if not self.stop.is_set():
            self._notice_burial()
            if self.superseded:
                self._stop(f"{self.superseded}. Stopping; what is committed stays.")
            elif self._run.is_stop_requested(self._number):
                self._stop("Asked to stop by `neo cancel`: stopping at the next commit; what is committed stays.")
        if self._others_may_live:
            self._others_may_live = not end_dead_attempts(self._run, self._observer, but=self._number)

    def _notice_burial(self) -> None:
        """Others may have said how this attempt ended: killed, since they saw no sign of life."""
        if (end := self._run.end(self._number)) is not None:
            later = self._run.num_attempts
            self.superseded = f"another command took this attempt for dead ({end.reason})"
            if later > self._number:
                self.superseded = f"superseded by attempt {later} of run {self._run.name}"

    def _stop(self, words: str) -> None:
        self._say(words)
        self.stop.set()
