"""Logs of attempts in the store, where they outlive the machines: the driver's lines, tracebacks and stacks.

Owns `runs/<run>/logs/<attempt>/`: `driver/<n>.txt` holds the lines of some seconds, `<step>.txt` the traceback of a
step that failed, `<step>.rank<r>.<n>.txt` the stacks of a rank that hung. A thread writes the lines: a store that does
not answer loses lines and delays no step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.runs.run import Run
from pipelines.screen.plain_lines import PlainLines, stamped
from pipelines.screen.progress import Scoreboard
from stages.contract import Event
from stages.store.fault_points import fault_point

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_CHUNKS = 5.0
"""Time between two files of the driver's lines: at most so much of the log is lost with the driver."""


class AttemptLog:
    """Collects the log of one attempt. `take` and `write` never wait and never raise."""

    def __init__(self, run: Run, attempt: int, board: Scoreboard) -> None:
        self._run = run
        self._attempt = attempt
        self._lines = PlainLines(board, self._add)
        self._waiting: list[str] = []
        self._next_chunk = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def take(self, event: Event) -> None:
        """Add the lines for an event, which the board has already taken."""
        self._lines.take(event)

    def write(self, text: str) -> None:
        """Add a line of text, with the time before it."""
        self._add(stamped(text))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write lines to the store from a thread inside this context; on leaving it, write the rest."""
        thread = threading.Thread(target=self._work, name="attempt-log", daemon=True)
        thread.start()
        try:
            with self._lines.now_and_then():
                yield
        finally:
            self._closing.set()
            thread.join()

    def keep_traceback(self, step: str, details: str) -> None:
        """Write the traceback of a failed step to the store. Raises what the store raises."""
        with fault_point("log.kept"):
            self._run.store.create(log_key(self._run, self._attempt, step), details.encode())

    def _add(self, line: str) -> None:
        with self._lock:
            self._waiting.append(line)

    def _work(self) -> None:
        while True:
            closing = self._closing.is_set()
            with self._lock:
                lines, self._waiting = self._waiting, []
            try:
                self._write(lines)
            except Exception:
                logger.warning("lines of the log could not be written to the store; they are retried", exc_info=True)
                with self._lock:
                    self._waiting[:0] = lines
            if closing:
                return
            self._closing.wait(SECONDS_BETWEEN_CHUNKS)

    def _write(self, lines: list[str]) -> None:
        if lines:
            data = "".join(f"{line}\n" for line in lines).encode()
            with fault_point("log.kept"):
                while not self._run.store.create(_chunk_key(self._run, self._attempt, self._next_chunk), data):
                    self._next_chunk += 1
            self._next_chunk += 1


def read_driver_log(run: Run, attempt: int) -> Iterator[str]:
    """The driver's lines of an attempt, in order."""
    number = 0
    while (data := run.store.read(_chunk_key(run, attempt, number))) is not None:
        yield from data.decode(errors="replace").splitlines()
        number += 1


def read_traceback(run: Run, attempt: int, step: str) -> str | None:
    """The traceback of a step that failed in an attempt, or None."""
    data = run.store.read(log_key(run, attempt, step))
    return None if data is None else data.decode(errors="replace")


def read_stacks(run: Run, attempt: int, step: str) -> dict[str, str]:
    """The stacks of ranks that hung, by rank and number: `<step>.rank0.1` to the text of its threads' stacks."""
    folder = f"{run.folder}/logs/{attempt}/"
    keys = [key for key in run.store.keys(folder) if key.startswith(f"{folder}{step}.rank")]
    texts = {key.removeprefix(folder).removesuffix(".txt"): run.store.read(key) or b"" for key in keys}
    return {name: data.decode(errors="replace") for name, data in texts.items()}


def log_key(run: Run, attempt: int, step: str) -> str:
    """Key of the traceback of a step that failed in an attempt."""
    return f"{run.folder}/logs/{attempt}/{step}.txt"


def _chunk_key(run: Run, attempt: int, number: int) -> str:
    return f"{run.folder}/logs/{attempt}/driver/{number:08d}.txt"
