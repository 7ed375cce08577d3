"""Times of a table are seconds, however they are spelled."""

import pytest

from stages.conversations.videos.clock_times import seconds_of
from stages.conversations.videos.references import VideoReferenceError, time_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("  ", None),
        ("0", 0.0),
        ("12.5", 12.5),
        ("1e2", 100.0),
        ("00:07", 7.0),
        ("90:00", 5400.0),
        ("0:00:07.250", 7.25),
        ("01:02:03,5", 3723.5),
    ],
)
def test_numbers_and_clock_times(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == time_of(text) == seconds, "a table and a record spell times alike"


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1:2:3:4", "12s", "1:", "[0, 1]", "1_0:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_of(text)
    with pytest.raises(VideoReferenceError):
        time_of(text)
