"""What the decoder's process does: set its own limits, then answer calls about one video after the other."""

from __future__ import annotations

import importlib
import io
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from stages.video.containers import open_file
from stages.video.faults import VideoError, VideoFault
from stages.video.film import Film
from stages.video.limits import VideoLimits
from stages.video.scenes import SceneSearch
from stages.video.wire import WireMessage, encoded, received

MAX_OPEN_FILES: Final = 64
"""Descriptors that the process may have open."""
SCENES_PACKAGE: Final = "scenedetect.detectors"
"""What finds scenes; imported when scenes are first asked for."""

_NONSENSE: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip

Answer = tuple[dict[str, Any], Sequence[bytes]]


def serve(limits: dict[str, Any]) -> None:
    """Answer calls from standard input on standard output until the former ends."""
    calls, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # whatever a library prints
    server = _Server(VideoLimits.model_validate(limits))
    while True:
        try:
            call = received(lambda num_bytes: _read(calls, num_bytes))
        except EOFError:
            return
        _write(answers, server.answer(call))


class _Server:
    def __init__(self, limits: VideoLimits) -> None:
        import av
        import numpy as np
        import simplejpeg

        av.logging.set_level(None)
        simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))  # loads what is loaded on first use
        self._limits = limits
        self._film: Film | None = None
        self._search: SceneSearch | None = None
        self._calls = {
            "hello": self._hello,
            "open": self._open,
            "open_bytes": self._open_bytes,
            "frame_times": self._frame_times,
            "frames": self._frames,
            "jpegs_at": self._jpegs_at,
            "packets": self._packets,
            "scenes": self._scenes,
            "scene_step": self._scene_step,
        }
        self._limit_once()
        self._limit_memory(_mapped_bytes() + limits.max_memory_bytes)

    def answer(self, call: WireMessage) -> bytes:
        """The answer to a call, or its fault."""
        self._limit_time()
        decoded_before = self._num_decoded()
        try:
            fields, blobs = self._calls[call.fields["call"]](call)
        except VideoError as error:
            return encoded({"fault": error.fault.value, "detail": error.detail})
        except MemoryError:
            return encoded({"fault": VideoFault.TOO_MUCH_MEMORY.value, "detail": str(call.fields["call"])})
        except _NONSENSE as error:
            # A damaged file may drive any line here into nonsense: it is the file's fault, and the next one is read.
            return encoded({"fault": VideoFault.UNDECODABLE.value, "detail": f"{type(error).__name__}: {error}"[:200]})
        return encoded({**fields, "num_decoded_frames": self._num_decoded() - decoded_before}, blobs)

    def _hello(self, _: WireMessage) -> Answer:
        return {}, ()

    def _open(self, call: WireMessage) -> Answer:
        self._close()
        path = Path(os.fsdecode(bytes.fromhex(call.fields["path_hex"])))
        self._film = Film(open_file(path, self._limits), self._limits)
        return {"facts": asdict(self._film.facts())}, ()

    def _open_bytes(self, call: WireMessage) -> Answer:
        self._close()
        self._film = Film(io.BytesIO(call.blobs[0]), self._limits)
        return {}, ()

    def _frame_times(self, call: WireMessage) -> Answer:
        return {"times": self._opened().frame_times(*call.fields["stretch"])}, ()

    def _frames(self, call: WireMessage) -> Answer:
        frames = self._opened().frames(call.fields["times"], call.fields["max_px"], call.fields["quality"])
        facts = [(frame.time_seconds, frame.width_px, frame.height_px) for frame in frames]
        return {"frames": facts}, [frame.jpeg for frame in frames]

    def _jpegs_at(self, call: WireMessage) -> Answer:
        return {}, self._opened().jpegs_at(call.fields["pts"], call.fields["max_px"], call.fields["quality"])

    def _packets(self, call: WireMessage) -> Answer:
        packets = self._opened().packets(*call.fields["stretch"])
        return {"times": packets.times, "pts": packets.pts}, [packets.mp4]

    def _scenes(self, call: WireMessage) -> Answer:
        stretch, threshold, min_scene_seconds = call.fields["search"]
        film = self._opened()
        self._import_scenes()
        self._search = film.scene_search((stretch[0], stretch[1]), threshold, min_scene_seconds)
        return {}, ()

    def _scene_step(self, _: WireMessage) -> Answer:
        assert self._search is not None
        is_over, found = self._search.step()
        return {"is_over": is_over, "found": found}, ()

    def _opened(self) -> Film:
        if self._film is None:
            raise VideoError(VideoFault.UNREADABLE_FILE, "no file is open")
        self._search = None
        self._film.cursor.begin_call()
        return self._film

    def _close(self) -> None:
        film, self._film, self._search = self._film, None, None
        if film is not None:
            film.close()

    def _num_decoded(self) -> int:
        return self._film.cursor.num_decoded_frames if self._film is not None else 0

    def _limit_once(self) -> None:
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)

    def _limit_time(self) -> None:
        """Processor time of the call that begins: the kernel ends the process when it is used up."""
        until = math.ceil(time.process_time() + self._limits.deadline_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))

    def _limit_memory(self, max_mapped_bytes: int) -> None:
        """Bound the address space, and with it the memory."""
        self._max_mapped_bytes = max_mapped_bytes
        resource.setrlimit(resource.RLIMIT_AS, (max_mapped_bytes, resource.RLIM_INFINITY))

    def _import_scenes(self) -> None:
        """Import PySceneDetect, which is not the video's doing: the limit rises by what that maps, once."""
        if SCENES_PACKAGE in sys.modules:
            return
        before = _mapped_bytes()
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        try:
            importlib.import_module(SCENES_PACKAGE)
        finally:
            self._limit_memory(self._max_mapped_bytes + max(0, _mapped_bytes() - before))


def _mapped_bytes() -> int:
    """Address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _read(descriptor: int, num_bytes: int) -> bytes:
    pieces, left = [], num_bytes
    while left:
        piece = os.read(descriptor, min(left, 1 << 20))
        if not piece:
            raise EOFError
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
