"""Numbers are written in little room."""

import pytest

from stages.drawing.palette import share, short_number


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (12_345, "12.3k"),
        (20_000, "20k"),
        (999_999, "1.0M"),
        (390_000_000, "390M"),
        (1.5e9, "1.5G"),
    ],
)
def test_numbers_are_short(number: float, written: str) -> None:
    assert short_number(number) == written


@pytest.mark.parametrize(
    ("part", "whole", "written"),
    [
        (0, 10, "0%"),
        (10, 10, "100%"),
        (1, 390_000_000, "<0.01%"),
        (1, 8, "12%"),
        (3, 100, "3%"),
        (34, 1000, "3.4%"),
        (0, 0, "0%"),
    ],
)
def test_shares_tell_something_from_nothing(part: int, whole: int, written: str) -> None:
    assert share(part, whole) == written


def test_nearly_all_is_not_written_as_all() -> None:
    assert share(9_999, 10_000) != "100%"
