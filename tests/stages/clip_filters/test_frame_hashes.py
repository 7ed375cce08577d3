"""Hashes stay nearly the same under what happens to copies of a film, and differ between films."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from stages.clip_filters.frame_hashes import NUM_FREQUENCIES, SCALE, frame_hash
from stages.clip_filters.frame_measures import SIDE_PX, small_grey
from tests.worlds.clip_world import MOVING, decoded, jpeg


def hash_of(pixels: np.ndarray) -> int:
    return frame_hash(small_grey(jpeg(pixels)))


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_a_hash_is_known() -> None:
    """A ramp from left to right has only frequencies across: those of the first row of the transform."""
    ramp = np.tile(np.arange(SIDE_PX, dtype=np.uint8) * 8, (SIDE_PX, 1))
    assert frame_hash(np.zeros((SIDE_PX, SIDE_PX), np.uint8)) == 0
    assert frame_hash(ramp[:, ::-1]) >> 56 == 0b01010101
    assert frame_hash(ramp) >> 56 == 0


@pytest.mark.parametrize("name", MOVING)
def test_a_copy_is_near_and_another_film_is_far(name: str) -> None:
    pixels = decoded(name)[25]
    small = np.asarray(Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC))
    poor = io.BytesIO()
    Image.fromarray(pixels).save(poor, "JPEG", quality=25)
    darker = (pixels * 0.8).astype(np.uint8)
    copies = [hash_of(small), frame_hash(small_grey(poor.getvalue())), hash_of(darker)]
    others = [hash_of(decoded(other)[25]) for other in MOVING if other != name]
    assert max(distance(hash_of(pixels), copy) for copy in copies) <= 6
    assert min(distance(hash_of(pixels), other) for other in others) >= 12


def test_no_cosine_lies_where_libraries_could_round_it_differently() -> None:
    for frequency in range(NUM_FREQUENCIES):
        for place in range(SIDE_PX):
            scaled = SCALE * math.cos((2 * place + 1) * frequency * math.pi / (2 * SIDE_PX))
            assert abs(abs(scaled) % 1 - 0.5) > 1e-6
