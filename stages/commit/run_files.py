"""What a step keeps for people under `runs/<run>/`: logs, pictures, and what it printed. Nothing depends on them.

Owns the file descriptors 1 and 2 of a worker while it makes a part, runs a rank or the body of a step, so that C
libraries and child processes are captured as well as `print`, `logging` and `warnings`. A worker does one such piece of
work at a time, so all it prints belongs to it. What is printed goes to a temporary file without a name, which no child
can block on or break; its first and last bytes are kept in the store, at once more often and later more seldom, and
copied to where the worker printed before. A piece of work that prints nothing costs no request.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.store.fault_points import fault_point
from stages.store.store import Store
from stages.surfaces.credentials import without_credentials

logger = logging.getLogger(__name__)

KEPT_BYTES = 4096
"""Bytes kept of the beginning, and of the end, of what was printed since the last time something was kept."""
FIRST_PAUSE_SECONDS = 10.0
"""Time until what was printed is kept for the first time; it doubles each time, up to `MAX_PAUSE_SECONDS`."""
MAX_PAUSE_SECONDS = 3600.0
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Size above which the temporary file is emptied, once its beginning and end are kept."""
STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""


@dataclass(frozen=True)
class RunFiles:
    """The files for people of one step in one attempt."""

    store: Store
    attempt: AttemptId
    step: str

    @classmethod
    def of(cls, writer: ArtifactWriter) -> RunFiles:
        """The run files of the step and the attempt that `writer` writes for."""
        return cls(writer.store, writer.attempt, writer.step)

    def keep_log(self, name: str, text: str) -> None:
        """Keep a text as `runs/<run>/logs/<attempt>/<step>.<name>.<n>.txt`, under the first free `n`."""
        for number in itertools.count():
            key = f"runs/{self.attempt.run}/logs/{self.attempt.number}/{self.step}.{name}.{number}.txt"
            with fault_point("log.kept", key):
                if self.store.create(key, without_credentials(text).encode()):
                    return

    def keep_output(self, name: str, text: str, first: int = 0) -> int:
        """Keep what a piece of work printed as `runs/<run>/logs/<attempt>/output/<step>/<name>.<n>.txt`.

        `name` is `<phase>/<part>`, `rank<r>` or `step`. Takes the first free `n` from `first` on, and returns it.
        """
        for number in itertools.count(first):
            key = f"runs/{self.attempt.run}/logs/{self.attempt.number}/output/{self.step}/{name}.{number}.txt"
            with fault_point("log.kept", key):
                if self.store.create(key, without_credentials(text).encode()):
                    return number
        raise AssertionError("unreachable: numbers have no end")

    def keep_picture(self, name: str, png: bytes) -> str:
        """Keep a picture as `runs/<run>/pictures/<attempt>/<step>.<name>.png`; returns its key.

        The first picture of a name stays; made again by a restarted rank, it is the same.
        """
        key = f"runs/{self.attempt.run}/pictures/{self.attempt.number}/{self.step}.{name}.png"
        with fault_point("log.kept", key):
            self.store.create(key, png)
        return key


@contextmanager
def output_kept(files: RunFiles, name: str) -> Iterator[None]:
    """Keep what this process prints inside the context as the output `name` of the files' step and attempt.

    An exception that leaves the context gets a note with it, which a traceback shows. Never raises by itself.
    """
    try:
        capture = _Capture(files, name)
    except OSError:  # without room for a temporary file the work itself may still succeed
        logger.warning("the output of %s is not captured", name, exc_info=True)
        yield
        return
    try:
        yield
    except Exception as error:
        if printed := capture.everything():
            error.add_note(f"It printed:\n{printed}")
        raise
    finally:
        capture.end()


class _Capture:
    """The redirection of both streams to a temporary file, and the thread that keeps what comes."""

    def __init__(self, files: RunFiles, name: str) -> None:
        self._files, self._name = files, name
        self._next_number = self._num_kept_bytes = 0
        self._file = tempfile.TemporaryFile(prefix="neo-output-", dir=_folder(), buffering=0)  # noqa: SIM115 (`end` closes it)
        handle = self._file.fileno()
        # Both streams append: each writer's next byte follows the last one, also after the file was emptied.
        fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_APPEND)
        _flush()
        self._before = {stream: os.dup(stream) for stream in STREAMS}
        for stream in STREAMS:
            os.dup2(handle, stream)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="output", daemon=True)
        self._thread.start()

    def everything(self) -> str:
        """The beginning and the end of what the temporary file holds."""
        _flush()
        return self._text(0, self._size_bytes())

    def end(self) -> None:
        """Give the streams back, and keep the rest."""
        _flush()
        for stream, before in self._before.items():
            os.dup2(before, stream)
        self._ended.set()
        self._thread.join()
        self._keep()
        for before in self._before.values():
            os.close(before)
        self._file.close()

    def _work(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._ended.wait(pause_seconds):
            self._keep()
            pause_seconds = min(2 * pause_seconds, MAX_PAUSE_SECONDS)

    def _keep(self) -> None:
        """Keep what was printed since the last call, if anything was."""
        size_bytes = self._size_bytes()
        if size_bytes <= self._num_kept_bytes:
            return
        text = self._text(self._num_kept_bytes, size_bytes)
        self._num_kept_bytes = size_bytes
        if size_bytes > MAX_FILE_BYTES:
            os.ftruncate(self._file.fileno(), 0)
            self._num_kept_bytes = 0
        with suppress(OSError):
            os.write(self._before[STREAMS[0]], without_credentials(text).encode())
        try:
            self._next_number = self._files.keep_output(self._name, text, self._next_number) + 1
        except Exception:  # for people alone: the work goes on without it
            logger.warning("the output of %s could not be kept", self._name, exc_info=True)

    def _text(self, start: int, end: int) -> str:
        """The bytes from `start` to `end`; of more than twice `KEPT_BYTES`, the beginning and the end."""
        handle, num_left_out = self._file.fileno(), end - start - 2 * KEPT_BYTES
        if num_left_out <= 0:
            return os.pread(handle, end - start, start).decode(errors="replace")
        first, last = os.pread(handle, KEPT_BYTES, start), os.pread(handle, KEPT_BYTES, end - KEPT_BYTES)
        left_out = f"\n[{num_left_out:,} bytes are left out here]\n"
        return first.decode(errors="replace") + left_out + last.decode(errors="replace")

    def _size_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _flush() -> None:
    """Write what Python and the C library still hold in memory."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(Exception):
        ctypes.CDLL(None).fflush(None)


def _folder() -> str | None:
    """Where the temporary file lies: below Ray's own folder if it has one, as the reaper finds children by files that
    they hold open there; else where temporary files lie."""
    folder = os.environ.get("RAY_TMPDIR", "")
    return folder if os.path.isdir(folder) else None  # noqa: PTH112 (an empty path is no folder)
