"""Packets of a stream copied into an MP4 without decoding, with each frame's time kept."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from stages.video.faults import VideoError, VideoFault

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

MAX_MP4_BYTES: Final = 512 * 2**20
"""Most bytes of packets that go into one MP4."""


def remuxed(packets: Sequence[Packet[VideoStream]], stream: VideoStream) -> tuple[bytes, list[int]]:
    """The MP4, and when each packet's frame is shown in it, in its time base. Raises `VideoError`.

    No edit list is written and decoding begins at 0, so that every reader sees the same times; nothing in it depends on
    when or where it is made. The packets' times are changed.
    """
    import av
    from av.error import FFmpegError

    file = io.BytesIO()
    options = {"fflags": "+bitexact", "use_editlist": "0", "movflags": "+negative_cts_offsets"}
    options |= _timescale(stream)
    times = [packet.pts for packet in packets if packet.pts is not None]
    if len(times) != len(packets):
        raise VideoError(VideoFault.NOT_IN_MP4, "a packet does not say when it is shown")
    try:
        with av.open(file, "w", format="mp4", container_options=options) as container:
            out = container.add_stream_from_template(stream, opaque=True)
            for packet, pts, dts in zip(packets, times, decoding_times(times), strict=True):
                packet.pts, packet.dts = pts - times[0], dts - times[0]
                packet.stream = out
                container.mux_one(packet)
    except MemoryError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        raise VideoError(VideoFault.NOT_IN_MP4, f"{stream.codec_context.name}: {type(error).__name__}") from error
    data = file.getvalue()
    try:
        return data, _times(data, len(packets))
    except MemoryError:
        raise
    except (FFmpegError, LookupError, OSError, ValueError) as error:
        raise VideoError(VideoFault.NOT_IN_MP4, f"it cannot be read back: {type(error).__name__}") from error


def decoding_times(times: Sequence[int]) -> list[int]:
    """When to decode packets, in decoding order, that are shown at these times: rising, and never after they are shown.

    The file's own decoding times are not used: some formats have none, and make up others after each seek. Frames shown
    at 0, 3, 1, 2 are decoded at -1, 0, 1, 2.
    """
    rising = sorted(times)
    if any(early == late for early, late in itertools.pairwise(rising)):
        raise VideoError(VideoFault.NOT_IN_MP4, "two frames are shown at one time")
    delay = max(late - shown for late, shown in zip(rising, times, strict=True))
    return [at - delay for at in rising]


def _timescale(stream: VideoStream) -> dict[str, str]:
    """Keep the time base where an MP4 can: a whole number of units in a second."""
    unit = Fraction(stream.time_base or 0)
    return {"video_track_timescale": str(unit.denominator)} if unit.numerator == 1 else {}


def _times(data: bytes, num_packets: int) -> list[int]:
    """When the frame of each packet is shown, as a reader of the MP4 sees it."""
    import av

    with av.open(io.BytesIO(data), "r", format="mov") as container:
        times = [packet.pts for packet in container.demux(container.streams.video[0]) if packet.size]
    told = [pts for pts in times if pts is not None]
    if len(told) != num_packets:
        raise VideoError(VideoFault.NOT_IN_MP4, f"{len(told)} of {num_packets} packets are read back")
    return told
