"""Whatever people wrote is drawn on its line, in letters that the font has."""

import pytest

from stages.drawing.words import NO_GLYPH, drawable, font, shortened, wide_font, wrapped


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a plain caption", "a plain caption"),
        ("two\nlines\tand\r\nmore", "two lines and more"),
        ("a bell\x07, an escape \x1b[31mred\x1b[0m, a null\x00", "a bell, an escape [31mred[0m, a null"),
        ("abc\u202e dcba \u2066x\u2069\u200f", "abc dcba x"),
        ("Zoë, Ångström, naïve", "Zoë, Ångström, naïve"),
        ("cafe\u0301", "café"),
        ("z" + "\u0351" * 400 + "algo", "zalgo"),
        ("собака שלום", "собака שלום"),
        ("犬 dog", f"{NO_GLYPH} dog"),
        ("\ud800 alone", "alone"),
        ("", ""),
    ],
)
def test_text_of_people_is_drawable(text: str, drawn: str) -> None:
    assert drawable(text) == drawn


def test_a_long_text_is_cut_before_it_is_looked_at() -> None:
    assert len(drawable("x" * 10_000_000)) == 400


@pytest.mark.parametrize("face", [font, wide_font])
def test_lines_fit_the_room_that_there_is(face: object) -> None:
    assert callable(face)
    lines = list(wrapped("one two three four five six seven eight nine ten eleven", 14, 90, 3, face))
    assert len(lines) == 3
    assert all(face(14).getlength(line) <= 90 for line in lines)
    assert lines[-1].endswith("...")
    assert shortened("short", 14, 90, face) == "short"
