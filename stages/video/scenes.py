"""Where scenes begin: PySceneDetect's content detector, fed with small frames that are decoded here."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from stages.video.decoding import Cursor
from stages.video.pictures import Look, Painter
from stages.video.timeline import Timeline

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SCENE_PX: Final = 256 * 144
"""Size of the frames that are compared, width times height: PySceneDetect itself makes wide frames this small."""
STEP_PX: Final = 2 * 10**9
"""Pixels that one step decodes: a long film is many steps, each with a deadline of its own."""


class SceneSearch:
    """One pass over the frames of a stretch, cut into steps."""

    def __init__(
        self,
        cursor: Cursor,
        timeline: Timeline,
        look: Look,
        *,
        stretch: range,
        threshold: float,
        min_scene_seconds: float,
    ) -> None:
        import cv2
        from scenedetect.detectors import ContentDetector

        cv2.setNumThreads(1)
        self._timeline = timeline
        self._painter = Painter(look, SCENE_PX)
        self._detector = ContentDetector(threshold=threshold, min_scene_len=float(min_scene_seconds))
        self._rate = Fraction(len(timeline.shown)) / (timeline.duration * timeline.time_base)
        self._end = int(timeline.shown[stretch[-1]])
        self._frames: Iterator[VideoFrame] = cursor.frames_from(int(timeline.shown[stretch[0]]))

    def step(self) -> tuple[bool, list[float]]:
        """Whether the stretch is over, and the times at which scenes begin that this step found, in seconds."""
        num_px = 0
        found: list[float] = []
        for frame in self._frames:
            if frame.pts is None or frame.pts > self._end:
                break
            found += self._cuts(frame, frame.pts)
            num_px += frame.width * frame.height
            if num_px >= STEP_PX:
                return False, found
        return True, found

    def _cuts(self, frame: VideoFrame, pts: int) -> list[float]:
        from scenedetect.common import FrameTimecode, Timecode

        timeline = self._timeline
        at = FrameTimecode(Timecode(pts - timeline.first, timeline.time_base), self._rate)
        blue_first = np.ascontiguousarray(self._painter.rgb(frame)[:, :, ::-1])
        return [cut.seconds for cut in self._detector.process_frame(at, blue_first)]
