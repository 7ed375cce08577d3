"""Frames to an H.264 film in an MP4, and silence to one, whose bytes depend on them alone (with the same FFmpeg).

The demo draws its films with it, and tests theirs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIME_BASE = Fraction(1, 90_000)
"""Unit of presentation times in a film, in seconds."""


def encode_film(
    frames: Sequence[NDArray[np.uint8]],
    times_seconds: Sequence[float],
    *,
    quality: int = 20,
    key_every_frames: int = 12,
) -> bytes:
    """A film of RGB frames [height, width, 3], each shown from its time on; sizes even, times rising.

    `quality` is x264's constant rate factor: 0 is lossless, 51 the worst. One thread, so that the bytes are the same on
    every machine.
    """
    import av

    file = io.BytesIO()
    height_px, width_px = frames[0].shape[:2]
    with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options=_options(quality))
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.gop_size, stream.thread_count = key_every_frames, 1
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        for pixels, seconds in zip(frames, times_seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(seconds / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def encode_sound(duration_seconds: float, *, rate_hz: int = 8_000) -> bytes:
    """An MP4 that holds silence and no pictures. ALAC, which is computed with whole numbers alone."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("alac", rate=rate_hz, options={"flags": "+bitexact"})
        silence = np.zeros((1, round(duration_seconds * rate_hz)), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16p", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _options(quality: int) -> dict[str, str]:
    # With `mbtree`, x264's fast code reads memory that it has not written: equal frames then give one of two films.
    fixed = {"preset": "medium", "threads": "1", "flags": "+bitexact", "x264-params": "mbtree=0"}
    return {"crf": str(quality), **fixed}
