"""A run as plain lines, for pipes and for the log of an attempt.

Owns when a line is printed: a step starts, ends or waits; is busy with something for some seconds; and every 30 seconds
for each running step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
SECONDS_BETWEEN_LOOKS = 2.0
"""How often it is looked what steps are busy with: what is over by then is worth no line."""


class PlainLines:
    """Prints the progress of a run line by line. Others update the board, under its lock."""

    def __init__(self, board: Scoreboard, say: Callable[[str], None]) -> None:
        self._board = board
        self._say = say
        self._ended = threading.Event()
        self._said_busy: dict[str, str] = {}

    def take(self, event: Event) -> None:
        """Print the line of an event that has one. The board must have taken the event already."""
        if isinstance(event, WarningPosted):
            self._say(stamped(f"{event.step}  {event.message}"))
        elif _is_news(event):
            self._say(self._line(self._board.steps[event.step]))

    def say_what_runs(self) -> None:
        """A line for each step that runs, or that waits for another run to make its artifact."""
        with self._board.lock:
            self._say_all([one for one in self._board.steps.values() if one.status == "running" or one.waits_for])

    def say_what_is_busy(self) -> None:
        """A line for each step that is busy with something that no line has told yet."""
        with self._board.lock:
            steps = self._board.steps.values()
            self._say_all([one for one in steps if one.busy and self._said_busy.get(one.name) != one.busy])

    def _say_all(self, states: Sequence[StepState]) -> None:
        self._said_busy |= {state.name: state.busy for state in states}
        for line in [self._line(state) for state in states]:
            self._say(line)

    @contextmanager
    def now_and_then(self) -> Iterator[None]:
        """Inside the block, a thread prints the running steps every `SECONDS_BETWEEN_LINES`, and what is new of what
        they are busy with."""
        thread = threading.Thread(target=self._break_silence, name="lines", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _break_silence(self) -> None:
        said_seconds = time.monotonic()
        while not self._ended.wait(min(SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_LOOKS)):
            if time.monotonic() - said_seconds >= SECONDS_BETWEEN_LINES:
                self.say_what_runs()
                said_seconds = time.monotonic()
            else:
                self.say_what_is_busy()

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
