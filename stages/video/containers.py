"""Opens one file as a container, by a closed list of formats and codecs, with no way to any other file.

The format is read from the first bytes, never from a name, and FFmpeg is told it; formats that are texts and name other
files (HLS, DASH, concat) are not on the list. FFmpeg gets an open file and no protocol: whatever a container names
(an MP4 whose `dref` points elsewhere), opening it is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

CODECS: Final = frozenset((
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg2video", "mpeg1video", "theora", "mjpeg", "h263",
    "flv", "prores", "msmpeg4v2", "msmpeg4v3", "vp6f",
))  # fmt: skip
"""Codecs of pictures that are read, by FFmpeg's names of their decoders."""

_HEAD_BYTES: Final = 4096
_BOXES: Final = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"))
_PLAYLISTS: Final = (
    b"#extm3u", b"#ext-x-", b"ffconcat", b"<?xml", b"<mpd", b"<smil", b"<asx", b"[playlist]", b"v=0",
    b"file ", b"file:", b"http:", b"https:", b"rtsp:",
)  # fmt: skip
_TS_PACKET_BYTES: Final = 188
_TS_SYNC: Final = 0x47
_READ_BYTES: Final = 128 * 2**10


def format_of(head: bytes) -> str:
    """FFmpeg's name of the format that begins with these bytes. Raises `VideoError`."""
    if head[4:8] in _BOXES:
        return "mov"
    for start, name in ((b"\x1a\x45\xdf\xa3", "matroska"), (b"FLV\x01", "flv"), (b"OggS", "ogg")):
        if head.startswith(start):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    for first, step in ((0, _TS_PACKET_BYTES), (4, _TS_PACKET_BYTES + 4)):  # M2TS has 4 bytes before each packet
        if len(head) > first + 2 * step and all(head[first + n * step] == _TS_SYNC for n in range(3)):
            return "mpegts"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PLAYLISTS):
        raise VideoError(VideoFault.PLAYLIST, repr(text[:24].decode("latin-1")))
    raise VideoError(VideoFault.UNKNOWN_FORMAT, f"first bytes {head[:12].hex()}" if head else "the file is empty")


def open_file(path: Path, limits: VideoLimits) -> BinaryIO:
    """The file, open for reading. Raises `VideoError` where it is no plain file, or too large."""
    try:
        # A named pipe would block until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise VideoError(VideoFault.UNREADABLE_FILE, type(error).__name__) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise VideoError(VideoFault.UNREADABLE_FILE, "not a plain file")
    if facts.st_size > limits.max_file_bytes:
        os.close(descriptor)
        raise VideoError(VideoFault.TOO_MANY_BYTES, f"{facts.st_size} bytes")
    return os.fdopen(descriptor, "rb", buffering=0)


def open_container(file: BinaryIO) -> InputContainer:
    """The container that the file is; its streams are known, nothing else was opened. Raises `VideoError`."""
    import av
    from av.error import FFmpegError

    try:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
    except OSError as error:
        raise VideoError(VideoFault.UNREADABLE_FILE, type(error).__name__) from error
    name = format_of(head)
    try:
        return av.open(
            file,
            "r",
            format=name,
            options={"threads": "1"},
            container_options={"protocol_whitelist": "none", "codec_whitelist": ",".join(sorted(CODECS))},
            buffer_size=_READ_BYTES,
            io_open=_refuse,
        )
    except MemoryError:
        raise
    except (FFmpegError, OSError, ValueError, RuntimeError) as error:
        raise VideoError(VideoFault.BROKEN_CONTAINER, type(error).__name__) from error


def pictures_of(container: InputContainer, limits: VideoLimits) -> tuple[VideoStream, int]:
    """The stream of moving pictures that is read, and how many there are. Raises `VideoError`.

    It is the one that the file marks as default, or else the first. Cover pictures and thumbnails are none.
    """
    from av.stream import Discard, Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    if not moving:
        raise VideoError(VideoFault.NO_VIDEO, f"{len(container.streams)} streams")
    stream = next((stream for stream in moving if stream.disposition & Disposition.default), moving[0])
    context = stream.codec_context
    if context is None or context.name not in CODECS:
        raise VideoError(VideoFault.UNKNOWN_CODEC, "no decoder" if context is None else context.name)
    if context.width * context.height > limits.max_frame_px:
        raise VideoError(VideoFault.TOO_MANY_PIXELS, f"{context.width} x {context.height}")
    for other in container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.max_frame_px)}
    return stream, len(moving)


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of the stream from where the file is read on, and an empty one that ends decoding."""
    try:
        yield from container.demux(stream)
    except IndexError:
        # At the end of a file, PyAV 18.1 also ends streams that it does not know: those that appeared on the way, as
        # sound does in FLV and MPEG-TS. All packets of ours, and the empty one, have come by then.
        return


def _refuse(url: str, *_: Any) -> BinaryIO:
    raise PermissionError(f"a video names another file: {url[:80]}")
