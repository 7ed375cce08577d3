"""One opened video, in the process that decodes: its facts, and what is taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from stages.video.containers import open_container, pictures_of
from stages.video.decoding import Cursor
from stages.video.facts import Frame, Packets, VideoFacts
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.pictures import Painter, look_of
from stages.video.remux import MAX_MP4_BYTES, remuxed
from stages.video.scenes import SceneSearch
from stages.video.timeline import packet_time, read_timeline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


class Film:
    """A video. Opening reads all its packets and decodes its first frame, no more. Raises `VideoError` everywhere."""

    def __init__(self, file: BinaryIO, limits: VideoLimits) -> None:
        with ExitStack() as opened:
            opened.callback(file.close)
            self._container = opened.enter_context(open_container(file))
            self._stream, self._num_streams = pictures_of(self._container, limits)
            self.timeline = read_timeline(self._container, self._stream, limits)
            self.cursor = Cursor(self._container, self._stream, self.timeline, limits.max_decoded_px)
            first = next(self.cursor.frames_from(self.timeline.first), None)
            if first is None:
                raise VideoError(VideoFault.UNDECODABLE, "no frame decodes")
            if first.width * first.height > limits.max_frame_px:
                raise VideoError(VideoFault.TOO_MANY_PIXELS, f"{first.width} x {first.height}")
            self._look = look_of(first, self._stream)
            self._pixel_format, self._is_interlaced = first.format.name, first.interlaced_frame
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def facts(self) -> VideoFacts:
        """What is known of it."""
        timeline, look = self.timeline, self._look
        return VideoFacts(
            duration_seconds=timeline.duration_seconds,
            width_px=look.width_px,
            height_px=look.height_px,
            native_fps=len(timeline.shown) / timeline.duration_seconds,
            num_frames=len(timeline.shown),
            num_keyframes=len(timeline.keys),
            is_variable_rate=timeline.is_variable_rate,
            container=self._container.format.name.split(",")[0],
            codec=self._stream.codec_context.name.removeprefix("lib").replace("dav1d", "av1"),
            pixel_format=self._pixel_format,
            rotation_degrees=look.turn.degrees,
            is_mirrored=look.turn.is_mirrored,
            is_interlaced=self._is_interlaced,
            num_video_streams=self._num_streams,
            is_cut_short=timeline.is_cut_short,
        )

    def frame_times(self, start_seconds: float, end_seconds: float) -> list[float]:
        """When the frames of [start, end) are shown, in seconds."""
        timeline = self.timeline
        return [timeline.seconds(int(timeline.shown[n])) for n in timeline.indexes_between(start_seconds, end_seconds)]

    def frames(self, times: Sequence[float], max_px: int, quality: int) -> list[Frame]:
        """The frames that are seen at these times, in the order of `times`."""
        wanted = [self.timeline.pts_at(at) for at in times]
        jpegs, (width_px, height_px) = self._jpegs(wanted, max_px, quality)
        return [Frame(self.timeline.seconds(pts), jpegs[pts], width_px, height_px) for pts in wanted]

    def jpegs_at(self, pts: Sequence[int], max_px: int, quality: int) -> list[bytes]:
        """The frames that are shown at these times of the stream's time base."""
        jpegs, _ = self._jpegs(pts, max_px, quality)
        return [jpegs[at] for at in pts]

    def packets(self, start_seconds: float, end_seconds: float) -> Packets:
        """The packets from the keyframe at or before `start` on, until all frames of [start, end) are there."""
        timeline = self.timeline
        if timeline.is_unordered:
            raise VideoError(VideoFault.NOT_IN_MP4, "packets do not say in which order frames are shown")
        stretch = timeline.indexes_between(timeline.seconds(timeline.pts_at(start_seconds)), end_seconds)
        if not stretch:
            raise VideoError(VideoFault.NO_FRAMES, f"between {start_seconds:.3f} and {end_seconds:.3f} s")
        wanted = {int(at) for at in timeline.shown[stretch.start : stretch.stop]}
        key = timeline.key_before(min(wanted))
        taken: list[Packet[VideoStream]] = []
        pts: list[int] = []
        num_bytes = 0
        for packet in self.cursor.packets_from(key):
            at = packet_time(packet, is_unordered=timeline.is_unordered)
            if at is None or not packet.size:
                continue
            taken.append(packet)
            pts.append(at)
            num_bytes += packet.size
            if num_bytes > MAX_MP4_BYTES:
                raise VideoError(VideoFault.TOO_MANY_BYTES, f"packets of more than {MAX_MP4_BYTES} bytes")
            wanted.discard(at)
            if not wanted:
                break
        if wanted:
            raise VideoError(VideoFault.UNDECODABLE, f"{len(wanted)} frames are not found again")
        mp4, pts_in_mp4 = remuxed(taken, self._stream)
        placed = sorted(
            (timeline.seconds(own), at)
            for own, at in zip(pts, pts_in_mp4, strict=True)
            if own >= key.pts and timeline.shows(own)
        )
        return Packets(mp4, tuple(at for at, _ in placed), tuple(at for _, at in placed))

    def scene_search(self, stretch: tuple[float, float], threshold: float, min_scene_seconds: float) -> SceneSearch:
        """A search for scenes among the frames of [start, end), in seconds."""
        indexes = self.timeline.indexes_between(*stretch)
        if not indexes:
            raise VideoError(VideoFault.NO_FRAMES, f"between {stretch[0]:.3f} and {stretch[1]:.3f} s")
        rule = {"threshold": threshold, "min_scene_seconds": min_scene_seconds}
        return SceneSearch(self.cursor, self.timeline, self._look, stretch=indexes, **rule)

    def _jpegs(self, pts: Sequence[int], max_px: int, quality: int) -> tuple[dict[int, bytes], tuple[int, int]]:
        painter = Painter(self._look, max_px)
        return {
            at: painter.jpeg(frame, quality) for at, frame in self.cursor.frames_at(sorted(set(pts)))
        }, painter.size_px
