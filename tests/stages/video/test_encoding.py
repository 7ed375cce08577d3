"""Films that we encode: the same bytes for the same frames, each frame at its time."""

import io

import av
import numpy as np
import pytest

from stages.video.encoding import encode_film, encode_sound

FRAMES = [np.full((64, 96, 3), 8 * number, np.uint8) for number in range(20)]
TIMES = [0.0, 0.1, 0.25, *(0.3 + 0.04 * number for number in range(17))]


def test_equal_frames_give_equal_bytes() -> None:
    assert encode_film(FRAMES, TIMES) == encode_film(FRAMES, TIMES)


def test_every_frame_is_shown_at_its_time() -> None:
    with av.open(io.BytesIO(encode_film(FRAMES, TIMES))) as film:
        shown = list(film.decode(video=0))
        assert film.streams.video[0].codec_context.name == "h264"
    assert [float(frame.pts * frame.time_base) for frame in shown] == pytest.approx(TIMES, abs=1e-4)
    greys = [int(np.median(frame.to_ndarray(format="rgb24"))) for frame in shown]
    assert np.abs(np.array(greys) - 8 * np.arange(20)).max() <= 4


def test_silence_has_no_pictures_and_the_same_bytes() -> None:
    data = encode_sound(1.5)
    assert data == encode_sound(1.5)
    with av.open(io.BytesIO(data)) as sound:
        assert [stream.type for stream in sound.streams] == ["audio"]
        assert float(sound.duration / av.time_base) == pytest.approx(1.5, abs=0.05)
