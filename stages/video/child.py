"""The process in which videos are decoded, seen from outside: started, asked, killed with its whole group.

It is a process of its own because decoders crash, hang and grow, and because no file may make them read another. The
kernel limits its memory, processor time, files written (none) and open descriptors; wall time is watched from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final

from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.wire import WireMessage, encoded, received

PROGRAM: Final = (
    "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path']; "
    "from stages.video.serving import serve; serve(told['limits'])"
)
START_SECONDS: Final = 300.0
"""Longest that the process takes to start, in seconds: a busy machine, imports from a network disk."""
WALL_PER_CPU: Final = 8
"""Seconds of wall time that one second of processor time may take on a busy machine, or on a slow disk."""
WALL_SECONDS: Final = 10.0
"""Wall time that a call has beside, in seconds."""
MAX_SAID_BYTES: Final = 4000
"""How much is repeated of what a process says that does not start, in bytes."""
READ_BYTES: Final = 1 << 20


class VideoChild:
    """One decoder process, started when it is first asked and again after it was killed. Not for several threads."""

    def __init__(self, limits: VideoLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = os.getpid()

    def ask(self, call: str, fields: dict[str, Any], blobs: Sequence[bytes] = ()) -> WireMessage:
        """The answer to one call. Raises `VideoError`; after a deadline, a crash or memory, the process is gone."""
        process = self._started()
        try:
            answer = self._exchange(process, encoded({"call": call, **fields}, blobs), self._wall_seconds)
        except (EOFError, BrokenPipeError) as error:
            raise VideoError(*self._cause_of_death(process)) from error
        except TimeoutError as error:
            self.kill()
            raise VideoError(VideoFault.DEADLINE, f"{call} took longer than {self._wall_seconds:.0f} s") from error
        except (ValueError, KeyError, TypeError) as error:
            self.kill()
            raise VideoError(VideoFault.CRASHED, f"{call} was answered by nonsense") from error
        if "fault" in answer.fields:
            fault = VideoFault(answer.fields["fault"])
            if fault is VideoFault.TOO_MUCH_MEMORY:
                self.kill()  # what is left of the memory is in pieces
            raise VideoError(fault, str(answer.fields["detail"]))
        return answer

    @property
    def is_running(self) -> bool:
        """Whether the process lives, with the file that it has opened."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, None where it does not run."""
        return self._process.pid if self._process is not None else None

    def kill(self) -> None:
        """End the process and all that it may have started."""
        process, self._process = self._process, None
        if process is None or self._owner_pid != os.getpid():  # a forked copy of the reader owns no process
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    @property
    def _wall_seconds(self) -> float:
        return WALL_PER_CPU * self._limits.deadline_seconds + WALL_SECONDS

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner_pid != os.getpid():
            self._process, self._owner_pid = None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.kill()
        told = json.dumps({"path": sys.path, "limits": self._limits.model_dump()})
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        with tempfile.TemporaryFile() as said:  # once it has started, the process can write nothing more there
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
                start_new_session=True,
                env=environment,
            )
            try:
                self._exchange(process, encoded({"call": "hello"}), START_SECONDS)
            except (EOFError, BrokenPipeError, TimeoutError, ValueError) as error:
                self.kill()
                said.seek(0)
                words = said.read(MAX_SAID_BYTES).decode(errors="replace").strip()
                raise RuntimeError(f"the decoder's process does not start: {words or process.returncode}") from error
        return process

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes, wall_seconds: float) -> WireMessage:
        assert process.stdin is not None and process.stdout is not None
        until = time.monotonic() + wall_seconds
        _write(process.stdin.fileno(), request, until)
        descriptor = process.stdout.fileno()
        return received(lambda num_bytes: _read(descriptor, num_bytes, until))

    def _cause_of_death(self, process: subprocess.Popen[bytes]) -> tuple[VideoFault, str]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        code = process.returncode
        self.kill()
        if code == -signal.SIGXCPU:
            return VideoFault.DEADLINE, f"more than {self._limits.deadline_seconds:g} s of processor time"
        return VideoFault.CRASHED, f"the decoder's process ended with {code}"


def _read(descriptor: int, num_bytes: int, until: float) -> bytes:
    pieces, left = [], num_bytes
    while left:
        _wait(descriptor, select.POLLIN, until)
        piece = os.read(descriptor, min(left, READ_BYTES))
        if not piece:
            raise EOFError
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes, until: float) -> None:
    left = memoryview(data)
    os.set_blocking(descriptor, False)
    while left:
        _wait(descriptor, select.POLLOUT, until)
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(descriptor, left[:READ_BYTES]) :]


def _wait(descriptor: int, event: int, until: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError
