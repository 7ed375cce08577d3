"""Decoding times of packets that are copied into an MP4."""

import pytest

from stages.video.faults import VideoError
from stages.video.remux import decoding_times


@pytest.mark.parametrize(
    ("shown", "decoded"),
    [([0, 1, 2], [0, 1, 2]), ([0, 3, 1, 2], [-1, 0, 1, 2]), ([0, 400, 10, 5], [-395, -390, -385, 5]), ([7], [7])],
)
def test_decoding_times_rise_and_come_before_showing(shown: list[int], decoded: list[int]) -> None:
    assert decoding_times(shown) == decoded
    assert all(at <= late for at, late in zip(decoded, shown, strict=True))


def test_two_frames_at_one_time_have_none() -> None:
    with pytest.raises(VideoError, match="one time"):
        decoding_times([0, 1, 1])
