"""Numbers and times as people say them."""

from pipelines.screen.units import counted, moment, times_in_words


def test_one_thing_is_not_several() -> None:
    assert [counted(number, "attempt") for number in (0, 1, 2)] == ["0 attempts", "1 attempt", "2 attempts"]


def test_a_moment_and_a_duration() -> None:
    assert times_in_words(1000.0, 1061.0) == f"{moment(1000.0)}, 1:01 long"
    assert times_in_words(1000.0, None) == moment(1000.0)
    assert times_in_words(1000.0, 990.0).endswith("0:00 long"), "clocks of two machines"
