"""The sampling rules, by worked examples."""

import numpy as np
import pytest
from pydantic import ValidationError

from neo_model.inputs.frame_sampling import FrameSampling, frames_at_rate, interior_points, spaced_points


def test_interior_points_lie_inside_the_video_and_never_at_its_ends() -> None:
    assert interior_points(100, 3) == [25, 50, 75]
    assert interior_points(1000, 1) == [500]
    assert interior_points(90, 8) == [10, 20, 30, 40, 50, 60, 70, 80]
    assert interior_points(33, 32) == list(range(1, 33))


def test_a_short_video_gives_all_its_frames() -> None:
    assert interior_points(3, 4) == [0, 1, 2]
    assert interior_points(4, 4) == [0, 1, 2, 3]


def test_frames_at_a_rate_begin_with_the_first_and_are_rounded_down() -> None:
    assert frames_at_rate(100, 25.0, 1.0, 256) == [0, 25, 50, 75]
    assert frames_at_rate(100, 29.97, 1.0, 256) == [0, 29, 59]
    assert frames_at_rate(50, 25.0, 2.0, 256) == [0, 12, 25, 37]
    assert all(len(frames_at_rate(n, n / s, 1.0, 256)) == s for s in range(1, 60) for n in range(s, 40 * s, 7))
    assert frames_at_rate(5, 0.5, 1.0, 256) == [0, 1, 2, 3, 4], "a slide show of two seconds a frame, each once"


def test_above_the_cap_the_points_are_at_equal_distance_from_the_start() -> None:
    at_cap = frames_at_rate(256 * 24, 24.0, 1.0, 256)
    assert len(at_cap) == 256 and at_cap[:2] == [0, 24]
    above = frames_at_rate(257 * 24, 24.0, 1.0, 256)
    assert len(above) == 256 and above[:3] == [0, 24, 48] and above[-1] == 255 * 24
    assert frames_at_rate(7200 * 24, 24.0, 1.0, 256)[:3] == [0, 672, 1344]


def test_frames_from_end_to_end_are_those_of_numpy() -> None:
    for num_frames in range(2, 3000, 7):
        for num_taken in (1, 2, 3, 8, 32, 50):
            if num_taken < num_frames:
                expected = np.linspace(0, num_frames - 1, num_taken, dtype=int).tolist()
                assert spaced_points(num_frames, num_taken, "ends") == expected


def test_frames_in_the_middle_of_stretches_are_those_of_mvbench() -> None:
    for num_frames in range(2, 3000, 7):
        for num_taken in (2, 32, 64):
            stretch = (num_frames - 1) / num_taken
            if num_taken < num_frames:
                expected = [int(stretch / 2 + np.round(stretch * number)) for number in range(num_taken)]
                assert spaced_points(num_frames, num_taken, "centres") == expected
    assert FrameSampling(num_frames=4, spacing="centres").frame_numbers(100, 25.0) == [12, 37, 62, 86]


@pytest.mark.parametrize("num_frames", [1, 2, 3, 10, 257])
@pytest.mark.parametrize("fps", [0.1, 1.0, 29.97, 1000.0])
def test_there_is_always_a_frame_and_all_lie_in_the_video(num_frames: int, fps: float) -> None:
    for sampling in (FrameSampling(num_frames=4), FrameSampling(frames_per_second=1.0, max_frames=4)):
        taken = sampling.frame_numbers(num_frames, fps)
        assert taken == sorted(set(taken)) and taken and taken[0] >= 0 and taken[-1] < num_frames and len(taken) <= 4


def test_one_rule_is_given() -> None:
    for fields in ({}, {"num_frames": 8, "frames_per_second": 1.0}):
        with pytest.raises(ValidationError, match="set one of them"):
            FrameSampling(**fields)
