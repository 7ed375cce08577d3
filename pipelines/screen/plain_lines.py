"""A run as plain lines, for where nobody looks at a terminal and for the journal: what begins, what ends, and now and
then how far the running steps are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.screen.progress import Scoreboard, StepState, clock_time
from stages.contract import Event, StepEnded, StepStarted, StepWaiting, WarningPosted

SECONDS_BETWEEN_LINES = 30.0


class PlainLines:
    """Says a scoreboard line by line. The board is brought up to date by others, under its lock."""

    def __init__(self, board: Scoreboard, say: Callable[[str], None]) -> None:
        self._board = board
        self._say = say
        self._ended = threading.Event()

    def take(self, event: Event) -> None:
        """Say what an event brought, if it deserves a line. The board knows of it already."""
        if isinstance(event, WarningPosted):
            self._say(stamped(f"{event.step}  {event.message}"))
        elif _is_news(event):
            self._say(self._line(self._board.steps[event.step]))

    def say_what_runs(self) -> None:
        """A line for each step that runs, or that waits for somebody else's."""
        with self._board.lock:
            busy = [state for state in self._board.steps.values() if state.status == "running" or state.waits_for]
            lines = [self._line(state) for state in busy]
        for line in lines:
            self._say(line)

    @contextmanager
    def now_and_then(self) -> Iterator[None]:
        """Meanwhile, a thread breaks long silences."""
        thread = threading.Thread(target=self._break_silence, name="lines", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _break_silence(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            self.say_what_runs()

    def _line(self, state: StepState) -> str:
        with self._board.lock:
            words, elapsed = self._board.line(state), clock_time(self._board.elapsed_seconds(state))
        return stamped(f"{state.name}  {state.status}  {elapsed}  {words}".rstrip())


def stamped(text: str) -> str:
    """The time of day, and the text."""
    return f"{time.strftime('%H:%M:%S')}  {text}"


def _is_news(event: Event) -> bool:
    """Whether an event deserves a line at once: a step begins, ends or waits. That one is reused, the plan has said."""
    return isinstance(event, StepWaiting | StepStarted) or (isinstance(event, StepEnded) and event.outcome != "reused")
