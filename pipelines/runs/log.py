"""Logs of attempts in the store, where they outlive the machines: the driver's lines, tracebacks and stacks.

Owns `runs/<run>/logs/<attempt>/`: `driver/<n>.txt` holds the lines of some seconds, `<step>.txt` the traceback of a
step that failed, `<step>.rank<r>.<n>.txt` the stacks of a rank that hung, `output/<step>/` what its parts, ranks and
its body printed. A thread writes the lines: a store that does not answer loses lines and delays no step.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipelines.runs.run import Run
from pipelines.screen.plain_lines import PlainLines, stamped
from pipelines.screen.progress import Scoreboard
from stages.contract import Event
from stages.store.fault_points import fault_point
from stages.store.numbering import num_keys
from stages.surfaces.credentials import without_credentials

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_CHUNKS = 5.0
"""Time between two files of the driver's lines: at most so much of the log is lost with the driver."""
CHUNKS_AT_A_TIME = 8
"""Chunks read at first, all at once; each further reading doubles what was read, up to `MAX_CHUNKS_AT_A_TIME`."""
MAX_CHUNKS_AT_A_TIME = 256
MAX_CHUNKS_BACK = 2048
"""Chunks looked through at most for the lines of one step: an hour and more of a busy run."""
MAX_OUTPUTS_LISTED = 1000
"""Kept outputs of one step that are listed at most: a phase may have 39,000 parts."""


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
            self._run.store.create(log_key(self._run, self._attempt, step), without_credentials(details).encode())

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
            data = without_credentials("".join(f"{line}\n" for line in lines)).encode()
            with fault_point("log.kept"):
                while not self._run.store.create(_chunk_key(self._run, self._attempt, self._next_chunk), data):
                    self._next_chunk += 1
            self._next_chunk += 1


def read_driver_log(run: Run, attempt: int, first: int = 0) -> Iterator[list[str]]:
    """The driver's lines of an attempt, by chunks, in order from chunk number `first` on."""
    number = first
    while (data := run.store.read(_chunk_key(run, attempt, number))) is not None:
        yield _lines(data)
        number += 1


def num_chunks(run: Run, attempt: int) -> int:
    """How many chunks of the driver's lines there are."""
    return num_keys(run.store, lambda number: _chunk_key(run, attempt, number))


def last_lines(
    run: Run, attempt: int, most: int | None, is_wanted: Callable[[str], bool] = lambda _: True
) -> tuple[list[str], int, bool]:
    """The newest wanted lines of an attempt's driver, read backwards: `most` at the most, or all.

    Also the number of chunks there are, and whether earlier lines were left out, or not looked at: of more than
    `MAX_CHUNKS_BACK` chunks, the earlier ones are read for all lines alone.
    """
    num = first = num_chunks(run, attempt)
    least = 0 if most is None else max(0, num - MAX_CHUNKS_BACK)
    lines: list[str] = []
    while first > least and (most is None or len(lines) < most):
        start = max(least, first - max(CHUNKS_AT_A_TIME, min(num - first, MAX_CHUNKS_AT_A_TIME)))
        found = run.store.read_many([_chunk_key(run, attempt, number) for number in range(start, first)])
        lines[:0] = [line for data in found if data is not None for line in _lines(data) if is_wanted(line)]
        first = start
    if most is None or len(lines) <= most:
        return lines, num, first > 0
    return lines[-most:], num, True


def read_tracebacks(run: Run, attempt: int, steps: Sequence[str]) -> dict[str, str]:
    """The tracebacks of the steps that failed in an attempt, by step."""
    found = run.store.read_many([log_key(run, attempt, step) for step in steps])
    return {step: data.decode(errors="replace") for step, data in zip(steps, found, strict=True) if data is not None}


def read_stacks(run: Run, attempt: int, steps: Sequence[str]) -> dict[str, str]:
    """The stacks of ranks that hung, by rank and number: `<step>.rank0.1` to the text of its threads' stacks."""
    folder = f"{run.folder}/logs/{attempt}/"
    names = [name for name in run.store.files(folder) if any(name.startswith(f"{step}.rank") for step in steps)]
    texts = run.store.read_many([folder + name for name in names])
    return {
        name.removesuffix(".txt"): (data or b"").decode(errors="replace")
        for name, data in zip(names, texts, strict=True)
    }


def kept_output(run: Run, attempt: int, step: str, work: str = "") -> list[str]:
    """Names of what is kept of what a step printed, such as `fetch/00003.0`: of one piece of work, or of some.

    Of a step with thousands of parts these are the first `MAX_OUTPUTS_LISTED`.
    """
    folder = f"{_output_folder(run, attempt)}/{step}/"
    if work:
        parent, _, name = f"{folder}{work}".rpartition("/")
        numbered = re.compile(rf"{re.escape(name)}\.\d+\.txt")
        names = [f"{parent}/{found}" for found in run.store.files(f"{parent}/") if numbered.fullmatch(found)]
    else:
        names = run.store.some_keys(folder, MAX_OUTPUTS_LISTED)
    return sorted((key.removeprefix(folder).removesuffix(".txt") for key in names), key=_by_number)


def steps_with_output(run: Run, attempt: int) -> list[str]:
    """The steps of which an attempt keeps output."""
    return run.store.folders(f"{_output_folder(run, attempt)}/")


def read_output(run: Run, attempt: int, step: str, names: Sequence[str]) -> dict[str, str]:
    """What was printed, by the names that `kept_output` gives."""
    found = run.store.read_many([f"{_output_folder(run, attempt)}/{step}/{name}.txt" for name in names])
    return {name: (data or b"").decode(errors="replace") for name, data in zip(names, found, strict=True)}


def _by_number(name: str) -> tuple[str, int]:
    """Sorts `rank0.2` before `rank0.10`."""
    work, _, number = name.rpartition(".")
    return work, int(number) if number.isdigit() else 0


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()


def _output_folder(run: Run, attempt: int) -> str:
    return f"{run.folder}/logs/{attempt}/output"


def log_key(run: Run, attempt: int, step: str) -> str:
    """Key of the traceback of a step that failed in an attempt."""
    return f"{run.folder}/logs/{attempt}/{step}.txt"


def _chunk_key(run: Run, attempt: int, number: int) -> str:
    return f"{run.folder}/logs/{attempt}/driver/{number:08d}.txt"
