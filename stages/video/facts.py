"""What is known of a video, and what is taken out of it: facts, frames, packets."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What the packets and the first frame of a file say; the header's own numbers are not believed.

    All times are seconds after the first shown frame.
    """

    duration_seconds: float
    """Time from the first shown frame until the last one is over."""
    width_px: int
    """Width of a frame, upright, with square pixels."""
    height_px: int
    """Height of a frame, upright, with square pixels."""
    native_fps: float
    """Shown frames a second, on average."""
    num_frames: int
    """Frames that are shown."""
    num_keyframes: int
    """Frames that can be decoded by themselves."""
    is_variable_rate: bool
    """Whether the time between frames differs by more than a tenth."""
    container: str
    """Format of the file, such as `mov` or `matroska`."""
    codec: str
    """How the frames are compressed, such as `h264`."""
    pixel_format: str
    """How FFmpeg calls the decoded pixels, such as `yuv420p10le`."""
    rotation_degrees: int
    """Clockwise turn that brings frames upright: 0, 90, 180 or 270."""
    is_mirrored: bool
    """Whether frames are mirrored as well, left to right, before they are turned."""
    is_interlaced: bool
    """Whether the first frame is two fields of half height, taken one after the other."""
    num_video_streams: int
    """Streams of moving pictures, cover pictures not counted. The default one is read, or else the first."""
    is_cut_short: bool
    """Whether the file ends, or is damaged, before its last frame. Frames up to there are read."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video, as a JPEG file."""

    time_seconds: float
    """When the frame is shown first, in seconds after the first shown frame of the video."""
    jpeg: bytes
    """The frame, upright, with square pixels."""
    width_px: int
    """Width of the JPEG."""
    height_px: int
    """Height of the JPEG."""


@dataclass(frozen=True, slots=True)
class Packets:
    """A stretch of a video, copied into an MP4 without decoding, from the keyframe before it on."""

    mp4: bytes
    """The MP4, of which every byte follows from the video and the stretch."""
    times: tuple[float, ...]
    """[n] when each frame in it is shown, in seconds after the first shown frame of the video, rising."""
    pts: tuple[int, ...]
    """[n] when each frame in it is shown, in the time base of the MP4."""

    def pts_at(self, time_seconds: float) -> int:
        """Of the frame that is shown at this time of the video, the presentation time in the MP4."""
        return self.pts[max(bisect_right(self.times, time_seconds + TIME_TOLERANCE_SECONDS) - 1, 0)]


TIME_TOLERANCE_SECONDS = 1e-6
"""Seconds by which a requested time may lie before a frame's time and still mean that frame: rounding of decimals."""


def fitted_size(width_px: int, height_px: int, max_px: int) -> tuple[int, int]:
    """(width, height) of at most `max_px` pixels, in even numbers, and never larger than the frame.

    Both sides shrink alike, then each is rounded down to an even number: 1920 x 1080 at 200,000 px becomes 596 x 334.
    """
    scale = min(1.0, math.sqrt(max_px / (width_px * height_px)))
    return tuple(max(2, 2 * math.floor(side_px * scale / 2 + 1e-9)) for side_px in (width_px, height_px))  # type: ignore[return-value]
