"""No character that a surface would obey or hide is shown, and no credential."""

import unicodedata

import pytest
from hypothesis import given

from stages.surfaces.visible import MAX_CHARS, MAX_MARKS, UNSHOWN, bounded, floods, visible
from tests.stages.surfaces.hostile_text import FLOODS, TEXTS

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


ZALGO = "".join(chr(0x300 + number % 112) for number in range(5000))


@pytest.mark.parametrize(
    "flood",
    [ZALGO, "\u200d" * 5000, "\u200c\ufe0f" * 2500, "\U000e0100" * 5000, "\u0489" * 5000, "\u05b0\u0591" * 2500],
)
@pytest.mark.parametrize("base", ["a", "", "世", "<b>"])
def test_of_a_flood_of_marks_a_few_stay(base: str, flood: str) -> None:
    once = visible(f"{base}{flood}")
    assert once == f"{base}{flood[:MAX_MARKS]}{MARK}" and visible(once) == once
    both = visible(f"{base}{flood} b {flood}c")
    assert both.count(MARK) == 2 and both.endswith(f"{MARK}c") and len(both) < 40


@pytest.mark.parametrize(
    "text",
    ["สวัสดีครับ ที่นี่", "שָׁלוֹם עֲלֵיכֶם", "བོད་སྐད་ཧཱུྃ", "नमस्ते क्ष्म्य", "ẳ ḗ ǖ", "👩🏽‍❤️‍💋‍👨🏿 🏳️‍🌈", "مُحَمَّدٌ", "Z̶͗a̶l̶g̶o̶"],
)
def test_marks_that_languages_need_stay(text: str) -> None:
    assert visible(text) == text


@given(FLOODS)
def test_no_more_marks_follow_each_other_than_a_line_has_room_for(text: str) -> None:
    assert not floods().search(visible(text))


@pytest.mark.parametrize("num_chars", [10**4, 10**6])
def test_a_long_message_is_cut_and_says_by_how_much(num_chars: int) -> None:
    cut = bounded("x" * num_chars)
    assert len(cut) < MAX_CHARS + 40 and cut.endswith(f"({num_chars - MAX_CHARS:,} more characters)")
    assert bounded("x" * MAX_CHARS) == "x" * MAX_CHARS and bounded(cut) == cut
    assert "SECRET" not in bounded(f"{'x' * (MAX_CHARS - 20)} https://me:SECRETSECRET@host/{'x' * 100}")
