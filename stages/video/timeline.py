"""When each frame of a stream is shown, and where decoding can begin: from its packets, without decoding.

Shape letters: n packets, in the order in which they are decoded; m frames, in the order in which they are shown.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from stages.video.containers import packets_of
from stages.video.facts import TIME_TOLERANCE_SECONDS
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

MAX_FPS: Final = 1000
"""Most frames a second that can be true, on average."""
MAX_FRAMES: Final = 4_000_000
"""Most packets of a stream: 18 hours at 60 frames a second. Bounds the memory of a timeline at 100 MB."""
MAX_BACKWARDS_SECONDS: Final = 0.5
"""Seconds by which decoding times may run backwards, as where two recordings were joined badly."""
MAX_LAST_FRAMES: Final = 10
"""How many times longer or shorter than usual the last frame may be shown; beyond, its duration is taken for damage."""
DEFAULT_FRAME_SECONDS: Final = Fraction(1, 25)
"""How long the only frame of a stream is shown if nothing says it."""


class Key(NamedTuple):
    """A frame from which decoding can begin."""

    pts: int
    """When it is shown, in the stream's time base."""
    dts: int
    """When it is decoded, in the stream's time base."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All frames of a stream."""

    time_base: Fraction
    """Unit of its times, in seconds."""
    pts: NDArray[np.int64]
    """[n] when the frame of each packet is shown."""
    shown: NDArray[np.int64]
    """[m] when each shown frame is, rising; an edit list hides some."""
    keys: NDArray[np.int64]
    """[k, 2] pts and dts of each keyframe, rising."""
    duration: int
    """Time from the first shown frame until the last one is over, in the time base."""
    is_cut_short: bool
    """Whether reading ended in an error."""
    is_unordered: bool
    """Whether packets do not say in which order frames are shown: the decoder's order counts, and decoding times."""

    @property
    def first(self) -> int:
        """When the first shown frame is."""
        return int(self.shown[0])

    @property
    def duration_seconds(self) -> float:
        """From the first shown frame until the last one is over, in seconds."""
        return float(self.duration * self.time_base)

    def shows(self, pts: int) -> bool:
        """Whether a frame is shown first at this time."""
        position = int(np.searchsorted(self.shown, pts))
        return position < len(self.shown) and int(self.shown[position]) == pts

    def num_shown(self, start: int, end: int) -> int:
        """How many frames are shown first in [start, end), in the time base."""
        return int(np.searchsorted(self.shown, end) - np.searchsorted(self.shown, start))

    def seconds(self, pts: int) -> float:
        """Seconds after the first shown frame."""
        return float((pts - self.first) * self.time_base)

    def index_at(self, time_seconds: float) -> int:
        """Which shown frame is seen at this time: the last one by then; before the beginning, the first."""
        elapsed = (time_seconds + TIME_TOLERANCE_SECONDS) / float(self.time_base)
        limit = int(min(max(elapsed, 0), 2**62)) + self.first
        return max(int(np.searchsorted(self.shown, limit, side="right")) - 1, 0)

    def pts_at(self, time_seconds: float) -> int:
        """When the frame that is seen at this time is shown first."""
        return int(self.shown[self.index_at(time_seconds)])

    def indexes_between(self, start_seconds: float, end_seconds: float) -> range:
        """The shown frames of which the time lies in [start, end)."""
        unit, slack = float(self.time_base), TIME_TOLERANCE_SECONDS
        bounds = [
            int(np.searchsorted(self.shown - self.first, (at - slack) / unit, side="left"))
            for at in (start_seconds, end_seconds)
        ]
        return range(*bounds)

    def key_before(self, pts: int) -> Key:
        """The last keyframe that is shown at this time or before. Raises `VideoError` where there is none."""
        position = int(np.searchsorted(self.keys[:, 0], pts, side="right")) - 1
        if position < 0:
            raise VideoError(VideoFault.NO_KEYFRAME, "none before the frame that is wanted")
        return Key(*map(int, self.keys[position]))

    @property
    def is_variable_rate(self) -> bool:
        """Whether the time between frames differs by more than a tenth, and by more than rounding."""
        if len(self.shown) < 3:
            return False
        gaps = np.diff(self.shown)
        return bool(gaps.max() - gaps.min() > max(0.1 * float(np.median(gaps)), 2))


def read_timeline(container: InputContainer, stream: VideoStream, limits: VideoLimits) -> Timeline:
    """Read all packets of the stream. Raises `VideoError` where their times cannot be true."""
    if not stream.time_base:
        raise VideoError(VideoFault.ABSURD_TIMES, "no time base")
    # AVI has one time a frame. FFmpeg finds the order of MPEG-4's frames by itself, and not that of the others.
    context = stream.codec_context
    is_unordered = container.format.name == "avi" and context.has_b_frames and context.name in ("h264", "hevc")
    scan = _Scan(Fraction(stream.time_base), limits, is_unordered=is_unordered)
    is_cut_short = scan.read(container, stream)
    return scan.timeline(stream, is_cut_short)


def packet_time(packet: Packet[VideoStream], *, is_unordered: bool) -> int | None:
    """When the frame of a packet is shown, in the stream's time base, as far as the packet says it."""
    return packet.dts if packet.pts is None or is_unordered else packet.pts


class _Scan:
    def __init__(self, time_base: Fraction, limits: VideoLimits, *, is_unordered: bool) -> None:
        self._time_base = time_base
        self._is_unordered = is_unordered
        self._max_span = int(limits.max_duration_seconds / time_base)
        self._max_backwards = int(MAX_BACKWARDS_SECONDS / time_base)
        self._pts, self._dts, self._flags = array("q"), array("q"), array("b")
        self._last_duration = 0

    def read(self, container: InputContainer, stream: VideoStream) -> bool:
        """Take in the packets; whether reading ended in an error."""
        from av.error import FFmpegError

        lowest = highest = last_dts = None
        is_cut_short = False
        try:
            for packet in packets_of(container, stream):
                pts = packet_time(packet, is_unordered=self._is_unordered)
                if pts is None or packet.size == 0:
                    continue
                dts = packet.dts if packet.dts is not None else pts
                if last_dts is not None and dts < last_dts - self._max_backwards:
                    raise VideoError(VideoFault.ABSURD_TIMES, "times run backwards")
                last_dts = dts
                if packet.is_corrupt:
                    is_cut_short = True  # a part of a packet, where the file ends: its frame is not shown
                self._take(pts, dts, is_key=packet.is_keyframe, is_shown=not (packet.is_discard or packet.is_corrupt))
                lowest, highest = (
                    min(pts, lowest if lowest is not None else pts),
                    max(pts, highest if highest is not None else pts),
                )
                if highest == pts:
                    self._last_duration = packet.duration or 0
                if highest - lowest > self._max_span:
                    raise VideoError(VideoFault.TOO_LONG, f"more than {float(self._max_span * self._time_base):.0f} s")
        except MemoryError:
            raise
        except (FFmpegError, OSError):
            return True
        # The index of an MP4 or AVI lists every frame; those of other formats list some.
        return is_cut_short or len(stream.index_entries) > len(self._pts)

    def _take(self, pts: int, dts: int, *, is_key: bool, is_shown: bool) -> None:
        if len(self._pts) >= MAX_FRAMES:
            raise VideoError(VideoFault.TOO_LONG, f"more than {MAX_FRAMES} frames")
        self._pts.append(pts)
        self._dts.append(dts)
        self._flags.append(is_key + 2 * is_shown)

    def timeline(self, stream: VideoStream, is_cut_short: bool) -> Timeline:
        """What was read, sorted and judged."""
        pts, dts = np.array(self._pts, np.int64), np.array(self._dts, np.int64)
        flags = np.array(self._flags, np.int8)
        is_key = (flags & 1).astype(bool)
        if not is_key.any():
            raise VideoError(VideoFault.NO_KEYFRAME if len(pts) else VideoFault.NO_FRAMES, f"{len(pts)} packets")
        listed = pts[(flags >= 2) & (pts >= pts[is_key].min())]  # frames before the first keyframe cannot be decoded
        shown = np.unique(listed)
        if not len(shown):
            raise VideoError(VideoFault.NO_FRAMES, f"{len(pts)} packets, none of them shown")
        if 2 * len(shown) < len(listed):
            raise VideoError(VideoFault.ABSURD_TIMES, f"{len(listed)} frames share {len(shown)} times")
        keys = np.stack([pts[is_key], dts[is_key]], axis=1)
        duration = self._duration(stream, shown)
        if duration > self._max_span:
            raise VideoError(VideoFault.TOO_LONG, f"{float(duration * self._time_base):.0f} s")
        if len(shown) > MAX_FPS * duration * self._time_base:
            raise VideoError(VideoFault.ABSURD_TIMES, f"{len(shown)} frames in {float(duration * self._time_base)} s")
        keys = keys[np.argsort(keys[:, 0], kind="stable")]
        return Timeline(self._time_base, pts, shown, keys, duration, is_cut_short, self._is_unordered)

    def _duration(self, stream: VideoStream, shown: NDArray[np.int64]) -> int:
        last = self._last_duration
        if len(shown) == 1:
            rate = stream.average_rate
            usual = 1 / Fraction(rate) if rate and 1 <= rate <= MAX_FPS else DEFAULT_FRAME_SECONDS
            return last if last > 0 else max(round(usual / self._time_base), 1)
        usual_gap = max(int(np.median(np.diff(shown))), 1)
        if not usual_gap <= MAX_LAST_FRAMES * last <= MAX_LAST_FRAMES**2 * usual_gap:
            last = usual_gap
        return int(shown[-1]) - int(shown[0]) + last
