"""When frames are seen and questions are due, in a film as a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.asking.viewer import Shown, moments, seen_at_rate


def test_a_frame_is_seen_until_the_next_one_comes() -> None:
    film = [0.0, 0.4, 0.8, 1.2, 1.6]
    assert seen_at_rate(film, 2.0, 1.0) == [0.0, 0.8]
    assert seen_at_rate(film, 2.0, 2.0) == [0.0, 0.4, 0.8, 1.2]
    assert seen_at_rate(film, 2.0, 10.0) == film
    assert seen_at_rate(film, 2.0, 0.1) == [0.0]
    assert seen_at_rate([0.0, 5.0], 6.0, 1.0) == [0.0, 5.0]


@given(gaps=st.lists(st.floats(0.01, 3), min_size=1, max_size=30), rate=st.floats(0.1, 40), cut=st.integers(1, 30))
def test_a_stream_does_not_depend_on_what_comes_later(gaps: list[float], rate: float, cut: int) -> None:
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    seen = seen_at_rate(times, times[-1] + 0.01, rate)
    assert seen == sorted(set(seen))
    assert set(seen) <= set(times)
    known, end = times[:cut], times[min(cut, len(times) - 1)]
    early = seen_at_rate(known, end, rate)
    assert seen[: len(early)] == early


def test_a_question_is_due_at_each_multiple_and_at_the_end() -> None:
    assert moments(10.0, 4.0) == [4.0, 8.0, 10.0]
    assert moments(8.0, 4.0) == [4.0, 8.0]
    assert moments(3.0, 4.0) == [3.0]
    assert moments(0.0, 4.0) == [0.0]


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (Shown(file="a.png", kind="picture", num_tokens=1234), "a.png: 1,234 tokens"),
        (
            Shown(file="a.mp4", kind="film", num_tokens=99, duration_seconds=600.0, frame_times=(0.0, 2.0)),
            "a.mp4: 600.0 s, 2 frames, 99 tokens",
        ),
    ],
)
def test_what_was_shown_is_a_sentence(shown: Shown, sentence: str) -> None:
    assert shown.sentence() == sentence
