"""Frames at given times, decoded from the keyframe before them and no earlier."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from stages.video.containers import packets_of
from stages.video.faults import VideoError, VideoFault
from stages.video.timeline import Key, Timeline, packet_time

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_STALE_SECONDS: Final = 1.0
"""How much older than the wanted frame the one may be that is taken in its stead, where a packet shows nothing."""
_WHOLE_FRAMES: Final = frozenset(("mov", "matroska", "flv"))  # formats in which a packet is a frame, never a field
_SEEK_EARLIER_SECONDS: Final = (0, 2, 30)
"""How much before a keyframe to look for it, one after the other: indexes of some formats are inexact."""


class Cursor:
    """Walks through the frames of one stream, in the order in which they are shown, from any keyframe on.

    It stays where it is between calls, so that frames asked for in rising order are decoded once. Frames that nobody
    wants and that no other frame is predicted from (most B-frames) are not decoded. Frames that the decoder calls
    damaged are passed over.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, timeline: Timeline, max_decoded_px: int) -> None:
        self._container = container
        self._stream = stream
        self._timeline = timeline
        self._frame_px = stream.codec_context.width * stream.codec_context.height
        self._max_decoded_px = max_decoded_px
        self._left_px = max_decoded_px
        self._packets: Iterator[Packet[VideoStream]] = iter(())
        self._decoded: deque[VideoFrame] = deque()
        self._current: VideoFrame | None = None
        self._position = 0
        self._may_skip = container.format.name.split(",")[0] in _WHOLE_FRAMES and not timeline.is_unordered
        self._is_skipping = False
        self._wanted: frozenset[int] = frozenset()
        self._skipped: set[int] = set()
        self.num_decoded_frames = 0

    def begin_call(self) -> None:
        """A new call begins: its budget of pixels is whole."""
        self._left_px = self._max_decoded_px

    def frames_at(self, times: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The frame that is shown at each of these times of the timeline, rising. Raises `VideoError`."""
        self._wanted = frozenset(times)
        for pts in times:
            yield pts, self._frame_at(pts)

    def _frame_at(self, pts: int) -> VideoFrame:
        key = self._timeline.key_before(pts)
        # The answer must not depend on where the cursor happens to stand.
        if self._timeline.num_shown(key.pts, pts) * self._frame_px > self._max_decoded_px:
            raise VideoError(VideoFault.TOO_MUCH_DECODING, f"the keyframe before {self._timeline.seconds(pts):.3f} s")
        at = self._current
        if at is None or pts in self._skipped or not key.pts <= _pts(at) <= pts:
            self._seek(key, is_skipping=self._may_skip)
        frame = self._walk_to(pts)
        if self._is_skipping and (frame is None or _pts(frame) != pts):
            # Its packet shows nothing, or is damaged: the frame before it is wanted, which may have been skipped.
            self._seek(key)
            frame = self._walk_to(pts)
        if frame is not None and 0 <= (pts - _pts(frame)) * self._timeline.time_base <= MAX_STALE_SECONDS:
            return frame
        raise VideoError(VideoFault.UNDECODABLE, f"the frame at {self._timeline.seconds(pts):.3f} s")

    def _walk_to(self, pts: int) -> VideoFrame | None:
        while self._current is None or _pts(self._current) < pts:
            following = self._peek()
            if following is None or (self._current is not None and _pts(following) > pts):
                break
            self._current = self._decoded.popleft()
        return self._current

    def frames_from(self, pts: int) -> Iterator[VideoFrame]:
        """All frames that are shown from this time on, in order."""
        self._seek(self._timeline.key_before(pts))
        while self._peek() is not None:
            self._current = self._decoded.popleft()
            if _pts(self._current) >= pts:
                yield self._current

    def _peek(self) -> VideoFrame | None:
        """The next frame, which stays in the queue; None at the end."""
        from av.error import FFmpegError

        while not self._decoded:
            try:
                packet = next(self._packets, None)
            except MemoryError:
                raise
            except (FFmpegError, OSError):
                return None
            if packet is None:
                return None
            try:
                self._choose_skipping(packet)
                frames = packet.decode()
            except MemoryError:
                raise
            except (FFmpegError, OSError, ValueError):
                continue
            for frame in frames:
                self._count(frame)
                if self._timeline.is_unordered:
                    frame.pts = self._next_time()
                if frame.pts is not None and not frame.is_corrupt:
                    self._decoded.append(frame)
        return self._decoded[0]

    def _choose_skipping(self, packet: Packet[VideoStream]) -> None:
        """Have the decoder leave the packet out if it is not wanted, and if no other frame is predicted from it."""
        at = packet_time(packet, is_unordered=self._timeline.is_unordered)
        is_skipped = self._is_skipping and at is not None and at not in self._wanted
        if is_skipped and at is not None:
            self._skipped.add(at)
        self._stream.codec_context.skip_frame = "NONREF" if is_skipped else "DEFAULT"

    def _next_time(self) -> int:
        """The time of the next frame that the decoder gives, where packets do not say it."""
        position = min(self._position, len(self._timeline.shown) - 1)
        self._position += 1
        return int(self._timeline.shown[position])

    def _count(self, frame: VideoFrame) -> None:
        self.num_decoded_frames += 1
        self._left_px -= frame.width * frame.height
        if self._left_px < 0:
            self._current = None
            raise VideoError(VideoFault.TOO_MUCH_DECODING, f"more than {self._max_decoded_px} pixels")

    def packets_from(self, key: Key) -> Iterator[Packet[VideoStream]]:
        """The packets from this keyframe on. The file is read elsewhere then: decoding begins at a keyframe again."""
        self._current = None
        self._decoded.clear()
        return _packets_from(self._container, self._stream, key, self._timeline)

    def _seek(self, key: Key, *, is_skipping: bool = False) -> None:
        self._packets = self.packets_from(key)
        self._is_skipping = is_skipping
        self._skipped.clear()
        self._position = int(np.searchsorted(self._timeline.shown, key.pts))


def _packets_from(
    container: InputContainer, stream: VideoStream, key: Key, timeline: Timeline
) -> Iterator[Packet[VideoStream]]:
    """The packets from this keyframe on. Raises `VideoError` where it cannot be found again."""
    from av.error import FFmpegError

    first_dts = int(timeline.keys[:, 1].min())
    earlier = [key.dts - int(seconds / timeline.time_base) for seconds in _SEEK_EARLIER_SECONDS]
    for target in dict.fromkeys(max(at, first_dts) for at in [*earlier, first_dts]):
        try:
            container.seek(target, stream=stream)
            packets = packets_of(container, stream)
            for packet in packets:
                # Not every format says again after seeking that it is a keyframe.
                if packet_time(packet, is_unordered=timeline.is_unordered) == key.pts:
                    return _followed(packet, packets)
                if packet.dts is not None and packet.dts > key.dts and packet.is_keyframe:
                    break
        except MemoryError:
            raise
        except (FFmpegError, OSError):
            continue
    raise VideoError(VideoFault.UNDECODABLE, f"the keyframe at {timeline.seconds(key.pts):.3f} s is not found again")


def _followed(packet: Packet[VideoStream], packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    yield packet
    yield from packets


def _pts(frame: VideoFrame) -> int:
    pts: int | None = frame.pts
    assert pts is not None  # frames without are passed over when they are decoded
    return pts
