"""No character that a surface would obey or hide is shown, and no credential."""

import unicodedata

import pytest
from hypothesis import given

from stages.surfaces.visible import UNSHOWN, visible
from tests.stages.surfaces.hostile_text import TEXTS

MARK = "\N{REPLACEMENT CHARACTER}"
JOINERS = "\u200c\u200d"


@given(TEXTS)
def test_only_tabs_and_line_feeds_remain_of_control_characters(text: str) -> None:
    shown = visible(text)
    assert not UNSHOWN.search(shown) and shown.encode().decode() == shown
    controls = [sign for sign in shown if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") and sign not in "\n\t"]
    assert controls == [] and "hunter2@" not in shown and "=hunter2" not in shown


def test_every_character_that_turns_text_around_or_hides_is_marked() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    codes = [code for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in turning]
    formats = [code for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")]
    assert len(codes) == 9
    assert {code for code in codes + formats if visible(chr(code)) != MARK} == {ord("\t"), ord("\n")}


@pytest.mark.parametrize("text", ["plain", "Grüße, 世界 שלום", "👩‍👩‍👧 می‌خواهم", "two\nlines\tand a tab", "a=b@c"])
def test_text_of_people_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_the_line_ends_of_other_systems_are_line_ends() -> None:
    assert visible("a\r\nb\rc") == f"a\nb{MARK}c"
