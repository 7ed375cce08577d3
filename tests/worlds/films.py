"""Films whose frames carry their own number, in every codec and container that is read, with every oddity.

A frame is a grid of 6 x 4 black and white squares: a first row that is always the same, so that a frame that is turned,
mirrored or in the wrong place is noticed, then 15 bits of its number and 3 of its check sum.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 96, 64
COLUMNS, ROWS = 6, 4
MARK = (1, 1, 0, 0, 1, 0)
NUM_BITS, CHECK_BITS = 15, 3
TICKS = 90_000
"""Units of time in a second in which films are written, where their container can."""


@dataclass(frozen=True)
class Form:
    """How a film is written."""

    codec: str = "libx264"
    container: str = "mp4"
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    suffix: str = ".mp4"
    rate: int = 25
    prepare: Callable[[Any], None] | None = None
    """Changes the stream before the first frame is encoded."""


OPEN_GOP = {"preset": "veryfast", "x264-params": "bframes=3:b-adapt=0:open-gop=1:scenecut=0:mbtree=0"}
X264 = {"preset": "veryfast", "crf": "18", "x264-params": "bframes=2:b-adapt=0:scenecut=0:mbtree=0"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:crf=20:keyint=12:bframes=2:pools=none:frame-threads=1"}
FORMS = {
    "h264": Form(options=X264),
    "h264-no-b": Form(options={"preset": "veryfast", "bf": "0"}),
    "h264-open-gop": Form(options=OPEN_GOP),
    "h264-10-bit": Form(options=X264, pixel_format="yuv420p10le"),
    "h264-mkv": Form(options=X264, container="matroska", suffix=".mkv"),
    "h264-ts": Form(options=X264, container="mpegts", suffix=".ts"),
    "h264-flv": Form(options=X264, container="flv", suffix=".flv"),
    "h264-avi": Form(options=X264, container="avi", suffix=".avi"),
    "hevc": Form("libx265", options=X265),
    "hevc-10-bit": Form("libx265", options=X265, pixel_format="yuv420p10le"),
    "vp8": Form("libvpx", "webm", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"}, suffix=".webm"),
    "vp9": Form("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}, suffix=".webm"),
    "vp9-mp4": Form("libvpx-vp9", "mp4", {"deadline": "realtime", "cpu-used": "8"}),
    "av1": Form("libsvtav1", "mp4", {"preset": "9", "crf": "10", "svtav1-params": "lp=1"}),
    "mpeg4-avi": Form("mpeg4", "avi", {"qscale": "3", "bf": "0"}, suffix=".avi"),
    "mpeg4-b-avi": Form("mpeg4", "avi", {"bf": "2"}, suffix=".avi"),
    "mpeg2-ps": Form("mpeg2video", "mpeg", {"bf": "2"}, suffix=".mpg"),
    "mpeg2-ts": Form("mpeg2video", "mpegts", {"bf": "2"}, suffix=".ts"),
    "mjpeg-avi": Form("mjpeg", "avi", {}, "yuvj420p", ".avi"),
    "prores": Form("prores_ks", "mov", {}, "yuv422p10le", ".mov"),
    "flv1": Form("flv", "flv", {}, suffix=".flv"),
}


def numbered(number: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> NDArray[np.uint8]:
    """[height, width, 3] a frame that carries its number."""
    check = number * 5 % 2**CHECK_BITS
    bits = [*MARK, *(number >> n & 1 for n in range(NUM_BITS)), *(check >> n & 1 for n in range(CHECK_BITS))]
    rows, columns = np.arange(height_px) * ROWS // height_px, np.arange(width_px) * COLUMNS // width_px
    grid = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 200 + 28
    return np.repeat(grid[np.ix_(rows, columns)][:, :, None], 3, axis=2)


def number_of(pixels: NDArray[np.uint8]) -> int | None:
    """The number in a picture of a frame, None where it is not upright, or not such a frame."""
    height_px, width_px = pixels.shape[:2]
    middles = np.ix_(
        (np.arange(ROWS) * 2 + 1) * height_px // (2 * ROWS), (np.arange(COLUMNS) * 2 + 1) * width_px // (2 * COLUMNS)
    )
    bits = (pixels.astype(int).mean(axis=2)[middles] > 128).astype(int).ravel().tolist()
    number = sum(bit << n for n, bit in enumerate(bits[COLUMNS : COLUMNS + NUM_BITS]))
    check = sum(bit << n for n, bit in enumerate(bits[COLUMNS + NUM_BITS :]))
    return number if tuple(bits[:COLUMNS]) == MARK and check == number * 5 % 2**CHECK_BITS else None


def number_in(jpeg: bytes) -> int | None:
    """The number in the JPEG of a frame."""
    return number_of(simplejpeg.decode_jpeg(jpeg))


def constant_times(num_frames: int, rate: int = 25) -> list[float]:
    """Times of frames at a constant rate, in seconds."""
    return [number / rate for number in range(num_frames)]


def uneven_times(num_frames: int) -> list[float]:
    """Times of frames at a variable rate, whole multiples of 1 ms, which every container can say."""
    gaps = (40, 20, 120, 40, 400, 33)
    return [sum(gaps[n % len(gaps)] for n in range(number)) / 1000 for number in range(num_frames)]


@contextmanager
def priority_kept() -> Iterator[None]:
    """Run with the scheduling of before afterwards.

    SVT-AV1, where it runs as root, gives the thread that encodes real-time priority 99: from then on this process, and
    all that it starts, would starve whatever else runs on the machine.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write_film(
    path: Path,
    form: Form = FORMS["h264"],
    times: Sequence[float] | None = None,
    *,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
    picture: Callable[[int, int, int], NDArray[np.uint8]] = numbered,
    with_sound: bool = False,
) -> Path:
    """Write the film whose frame n is shown from times[n] on, and return its path."""
    path.write_bytes(film_bytes(form, times, size_px=size_px, picture=picture, with_sound=with_sound))
    return path


def film_bytes(
    form: Form = FORMS["h264"],
    times: Sequence[float] | None = None,
    *,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
    picture: Callable[[int, int, int], NDArray[np.uint8]] = numbered,
    with_sound: bool = False,
) -> bytes:
    """The film of which frame n is shown from times[n] on."""
    file = io.BytesIO()
    options = {"fflags": "+bitexact"}
    with priority_kept(), av.open(file, "w", format=form.container, container_options=options) as container:
        stream: Any = container.add_stream(form.codec, rate=form.rate, options=dict(form.options))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size_px, form.pixel_format, 12
        stream.codec_context.thread_count = 1
        # AVI and MPEG-1/2/4 count frames; everything else says when each is shown.
        unit = Fraction(1, form.rate if form.codec in {"mpeg4", "mpeg2video", "mjpeg", "flv"} else TICKS)
        stream.time_base = stream.codec_context.time_base = unit
        if form.prepare is not None:
            form.prepare(stream)
        sound: Any = container.add_stream("mp2" if form.container in {"mpeg", "avi"} else "aac") if with_sound else None
        for number, seconds in enumerate(constant_times(50) if times is None else times):
            frame = av.VideoFrame.from_ndarray(picture(number, *size_px), format="rgb24")
            frame.pts, frame.time_base = round(seconds / unit), unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for packet in _silence(sound):
                container.mux(packet)
    return file.getvalue()


def sound_bytes(container: str = "mp4") -> bytes:
    """A file of sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream("aac")
        for packet in _silence(stream):
            out.mux(packet)
    return file.getvalue()


def _silence(stream: Any) -> Iterator[Any]:
    for number in range(20):
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 1024 * number
        yield from stream.encode(frame)
    yield from stream.encode(None)


def boxes(data: bytes, path: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """[first byte, end) of the content of each box at a path such as b"moov/trak/mdia/mdhd" of an MP4."""
    name, _, rest = path.partition(b"/")
    end = len(data) if end is None else end
    while start + 8 <= end:
        size = struct.unpack_from(">I", data, start)[0]
        size = size or end - start
        if data[start + 4 : start + 8] == name:
            if rest:
                yield from boxes(data, rest, start + 8, start + size)
            else:
                yield start + 8, start + size
        start += max(size, 8)


def patched(data: bytes, path: bytes, offset: int, value: bytes) -> bytes:
    """The MP4 with some bytes of each box at a path replaced."""
    changed = bytearray(data)
    for start, _ in boxes(data, path):
        changed[start + offset : start + offset + len(value)] = value
    return bytes(changed)
