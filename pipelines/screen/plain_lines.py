"""A run as plain lines, for pipes and for the log of an attempt.

Owns when a line is printed: a step starts, ends or waits, and every 30 seconds for each running step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.screen.progress import Scoreboard, StepState, clock_time
from stages.contract import (
    CheckpointDelayed,
    Event,
    MachinesAwaited,
    StepEnded,
    StepStarted,
    StepWaiting,
    WarningPosted,
)

SECONDS_BETWEEN_LINES = 30.0


class PlainLines:
    """Prints the progress of a run line by line. Others update the board, under its lock."""

    def __init__(self, board: Scoreboard, say: Callable[[str], None]) -> None:
        self._board = board
        self._say = say
        self._ended = threading.Event()

    def take(self, event: Event) -> None:
        """Print the line of an event that has one. The board must have taken the event already."""
        if isinstance(event, WarningPosted):
            self._say(stamped(f"{event.step}  {event.message}"))
        elif _is_news(event):
            self._say(self._line(self._board.steps[event.step]))

    def say_what_runs(self) -> None:
        """A line for each step that runs, or that waits for another run to make its artifact."""
        with self._board.lock:
            busy = [state for state in self._board.steps.values() if state.status == "running" or state.waits_for]
            lines = [self._line(state) for state in busy]
        for line in lines:
            self._say(line)

    @contextmanager
    def now_and_then(self) -> Iterator[None]:
        """Inside the block, a thread prints the running steps every `SECONDS_BETWEEN_LINES`."""
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
    """Whether an event is printed at once: a step starts, ends or waits. Reused steps were printed with the plan."""
    if isinstance(event, StepEnded):
        return event.outcome != "reused"
    return isinstance(event, StepWaiting | MachinesAwaited | CheckpointDelayed | StepStarted)
