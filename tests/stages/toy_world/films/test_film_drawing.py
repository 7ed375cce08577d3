"""Films as files: equal scenes give equal bytes, and a decoder sees what was drawn."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.toy_world.films.film_drawing import dark_film, film, frame_at, still_film, turned_film
from stages.toy_world.films.film_scene import SIZE_PX, film_scene
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader

SCENE = film_scene(7, "train", 0)


def decoded(data: bytes, path: Path) -> tuple[list[np.ndarray], int]:
    path.write_bytes(data)
    with VideoReader(VideoLimits()) as reader:
        facts = reader.open(path)
        frames = reader.frames([0.0, 1.0, 2.0, 3.0], max_px=10**6, quality=95)
    return [np.asarray(Image.open(io.BytesIO(frame.jpeg))).astype(int) for frame in frames], facts.rotation_degrees


def test_equal_scenes_give_equal_bytes() -> None:
    assert len({film(film_scene(7, "train", 0)) for _ in range(5)}) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_decoder_sees_what_was_drawn(turned: bool, tmp_path: Path) -> None:
    frames, rotation = decoded(turned_film(SCENE) if turned else film(SCENE), tmp_path / "film.mp4")
    assert rotation == (90 if turned else 0)
    for second, frame in enumerate(frames):
        assert frame.shape == (SIZE_PX, SIZE_PX, 3)
        assert np.abs(frame - np.asarray(frame_at(SCENE, second))).mean() < 5


def test_still_and_dark_films_have_nothing_to_see(tmp_path: Path) -> None:
    times = SCENE.times_seconds()
    still, _ = decoded(still_film(SCENE, times), tmp_path / "still.mp4")
    dark, _ = decoded(dark_film(times), tmp_path / "dark.mp4")
    assert all(np.abs(frame - still[0]).mean() < 3 for frame in still)
    assert all(frame.max() < 10 for frame in dark)
