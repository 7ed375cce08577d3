"""What frames measure, on frames whose measures can be told beforehand."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.clip_filters.frame_measures import FrameError, measure_frames, nearest, small_grey
from stages.duplicates.measures.picture_hashes import SIDE_PX


def plain(level: int) -> np.ndarray:
    return np.full((SIDE_PX, SIDE_PX), level, np.uint8)


def test_plain_frames_have_a_level_and_no_contrast() -> None:
    measures = measure_frames([plain(10), plain(30), plain(20)], [0.5, 1.0, 1.5], 2.0)
    assert (measures.luma, measures.brightest, measures.contrast) == (20.0, 30, 0)
    assert (measures.motion, measures.flicker) == (10.0, 15.0)


def test_motion_does_not_depend_on_how_many_frames_were_taken() -> None:
    """A level that rises by 2 each tenth of a second: by 20 a second."""
    dense = measure_frames([plain(2 * n) for n in range(41)], [n / 10 for n in range(41)], 4.0)
    sparse = measure_frames([plain(20 * n) for n in range(5)], [float(n) for n in range(5)], 4.0)
    assert dense.motion == sparse.motion == 20.0
    assert (dense.flicker, sparse.flicker) == (2.0, 20.0)


def test_contrast_is_that_of_the_frame_that_has_most() -> None:
    bright = plain(0)
    bright[0, 0] = 200
    measures = measure_frames([plain(0), bright], [0.0, 1.0], 2.0)
    assert measures.contrast == 200
    assert measures.motion == 200 / SIDE_PX**2


def test_one_frame_shows_no_motion() -> None:
    measures = measure_frames([plain(5)], [0.0], 1.0)
    assert measures.motion is None and measures.flicker is None


def test_frames_are_hashed_next_to_a_quarter_half_and_three_quarters() -> None:
    frames = [np.random.default_rng(seed).integers(0, 255, (SIDE_PX, SIDE_PX), np.uint8) for seed in range(4)]
    alone = [measure_frames([frame], [0.0], 1.0).hashes[0] for frame in frames]
    measures = measure_frames(frames, [0.0, 1.0, 2.0, 3.0], 4.0)
    assert measures.hashes == (alone[1], alone[2], alone[3])


def test_of_two_times_as_near_the_earlier_is_taken() -> None:
    assert nearest([1.0, 2.0], 1.5) == 0
    assert nearest([0.0, 2.0, 2.0], 1.9) == 1


@pytest.mark.parametrize("size", [(640, 360), (20, 10), (1, 1)])
def test_a_frame_of_any_size_becomes_cells_of_grey(size: tuple[int, int]) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", size, (90, 90, 90)).save(encoded, "JPEG")
    grey = small_grey(encoded.getvalue())
    assert grey.shape == (SIDE_PX, SIDE_PX)
    assert abs(int(grey.mean()) - 90) <= 1


@pytest.mark.parametrize("broken", [b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_what_is_no_jpeg_is_said_to_be_none(broken: bytes) -> None:
    with pytest.raises(FrameError):
        small_grey(broken)


def test_a_cut_jpeg_is_said_to_be_damaged() -> None:
    encoded = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(encoded, "JPEG")
    with pytest.raises(FrameError):
        small_grey(encoded.getvalue()[:-2000])


def test_other_formats_are_not_opened() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (40, 40)).save(encoded, "PNG")
    with pytest.raises(FrameError):
        small_grey(encoded.getvalue())
