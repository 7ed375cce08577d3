"""Reads videos: facts, frames, packets, scenes of one file after the other, all in a process with limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from stages.video.child import VideoChild
from stages.video.facts import Frame, Packets, VideoFacts
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.wire import WireMessage

FRAMES_PER_CALL: Final = 32
"""Frames that one step decodes at most, so that a long list is many steps, each with a deadline of its own."""
SCENE_THRESHOLD: Final = 27.0
"""PySceneDetect's own threshold: how much hue, saturation and brightness differ, on average, on a scale of 255."""


class VideoReader:
    """Reads one video file at a time, in a process that is reused for many files. Not for several threads.

    Every method raises `VideoError`. After a deadline, a crash or too much memory the process is gone, and each further
    call about the same file raises the same error; the next `open` starts a process again. All times are seconds after
    the first shown frame of the video.
    """

    def __init__(self, limits: VideoLimits | None = None) -> None:
        self.limits = limits or VideoLimits()
        self.num_decoded_frames = 0
        """Frames that were decoded since the reader was made, wanted or not."""
        self._child = VideoChild(self.limits)
        self._lost: VideoError | None = None
        self._is_open = False

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The reader may be used again."""
        self._is_open = False
        self._child.kill()

    def open(self, path: Path) -> VideoFacts:
        """Open a file in place of the one before. Reads its packets and decodes its first frame."""
        self._lost, self._is_open = None, False
        answer = self._ask("open", {"path_hex": os.fsencode(path.absolute()).hex()})
        self._is_open = True
        return VideoFacts(**answer.fields["facts"])

    def scene_starts(
        self,
        threshold: float = SCENE_THRESHOLD,
        min_scene_seconds: float = 0.6,
        start_seconds: float = 0.0,
        end_seconds: float = float("inf"),
    ) -> list[float]:
        """When scenes begin in this stretch, rising; the first is its first frame. Decodes every frame of it.

        None where no frame begins in it: the one before is seen all through.
        """
        starts = self.frame_times(start_seconds, end_seconds)[:1]
        if not starts:
            return []
        self._ask("scenes", {"search": ((start_seconds, _finite(end_seconds)), threshold, min_scene_seconds)})
        is_over = False
        while not is_over:
            answer = self._ask("scene_step", {})
            starts += answer.fields["found"]
            is_over = answer.fields["is_over"]
        return starts

    def frame_times(self, start_seconds: float = 0.0, end_seconds: float = float("inf")) -> list[float]:
        """When each frame of [start, end) is shown, rising. Decodes nothing."""
        return list(self._ask("frame_times", {"stretch": (start_seconds, _finite(end_seconds))}).fields["times"])

    def frames(self, times: Sequence[float], max_px: int, quality: int) -> list[Frame]:
        """The frame that is seen at each time, in their order, as JPEGs of at most `max_px` pixels, width times height.

        Before the first frame that is the first, after the last the last. Decodes from the keyframe before each on.
        """
        frames: list[Frame] = []
        order = sorted(range(len(times)), key=times.__getitem__)
        for first in range(0, len(order), FRAMES_PER_CALL):
            wanted = [times[n] for n in order[first : first + FRAMES_PER_CALL]]
            answer = self._ask("frames", {"times": wanted, "max_px": max_px, "quality": quality})
            told = zip(answer.fields["frames"], answer.blobs, strict=True)
            frames += [Frame(at, jpeg, width_px, height_px) for (at, width_px, height_px), jpeg in told]
        place = {index: position for position, index in enumerate(order)}
        return [frames[place[n]] for n in range(len(times))]

    def packets(self, start_seconds: float, end_seconds: float) -> Packets:
        """The frames of [start, end) as packets in an MP4, from the keyframe at or before `start` on. Decodes nothing.

        `decode_packet_frames` gives the same JPEGs of it as `frames` gives at the same times.
        """
        answer = self._ask("packets", {"stretch": (start_seconds, _finite(end_seconds))})
        return Packets(answer.blobs[0], tuple(answer.fields["times"]), tuple(answer.fields["pts"]))

    def _ask(self, call: str, fields: dict[str, Any], blobs: Sequence[bytes] = ()) -> WireMessage:
        if self._lost is not None:
            raise VideoError(self._lost.fault, self._lost.detail)
        if self._is_open and call != "open" and not self._child.is_running:
            # It died between two calls, as where the machine ran out of memory: another one has no file open.
            self._lost = VideoError(VideoFault.CRASHED, "the decoder's process ended between two calls")
            raise self._lost
        try:
            answer = self._child.ask(call, fields, blobs)
        except VideoError as error:
            if not self._child.is_running:
                self._lost = error
            raise
        self.num_decoded_frames += answer.fields.get("num_decoded_frames", 0)
        return answer


def _finite(seconds: float) -> float:
    return min(seconds, 1e12)
