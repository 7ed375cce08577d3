"""Cleaning loses nothing that a reader would see."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.origins.clean_text import TextEncodingError, _marks_in_a_row, clean_text, trim


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a red dog\n", "a red dog"),
        ("\ufeffa", "a"),
        ("a\x00b\x1b[31mc", "ab[31mc"),
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"),
        ("a\tb", "a\tb"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u202egnp.exe", "gnp.exe"),
        ("z" + "\u0335" * 500 + "a", "z" + "\u0335" * 4 + "a"),
        ("\u200b \u3000", ""),
        ("a\x0bb\x0cc\x1cd\x1de\x1ef", "a\nb\nc\nd\ne\nf"),
        ("a\x1fb", "a b"),
        ("a\u2029b", "a\nb"),
        ("10\u00a0km au\u202fciel 赤い\u3000犬", "10\u00a0km au\u202fciel 赤い\u3000犬"),
        ("\u00a0\u2003\u3000a red dog\u2003\u3000", "a red dog"),
        ("Donau\u00addampf\u200bschiff\u2060fahrt", "Donaudampfschifffahrt"),
        ("\u061ca\u180eb\u206ac\ufff0d\ufdd0e\U0001bca0f\U0001d173g", "abcdefg"),
        ("\u0645\u06cc\u200c\u062e \u0d15\u0d4d\u200d",) * 2,
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",) * 2,
        ("a dog" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all") + "!", "a dog!"),
        ("I \u2764\ufe0f 1\ufe0f\u20e3 葛\U000e0100", "I \u2764\ufe0f 1\ufe0f\u20e3 葛\U000e0100"),
        ("\u263a" + "\U000e0150" * 900 + "a", "\u263a\U000e0150a"),
        ("a" + "\u200d" * 900 + "b", "a\u200d\u200db"),
        ("a" + "\u05b0\u05b4\u05bc" * 900 + "b", "a" + "\u05b0" * 10 + "\u05b4" * 10 + "\u05bc" * 10 + "b"),
        ("<img><|im_end|>", "<img><|im_end|>"),
        ("👩\u200d🚀 नमस्ते", "👩\u200d🚀 नमस्ते"),
        (b"caf\xc3\xa9", "caf\u00e9"),
        (b"\xef\xbb\xbfa", "a"),
    ],
)
def test_what_only_machines_notice_goes(raw: str | bytes, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\xfea\x00", "\ud800", b"\xed\xa0\x80"])
def test_what_is_no_text_is_refused(raw: str | bytes) -> None:
    with pytest.raises(TextEncodingError):
        clean_text(raw)


BLANK = [
    "\u00ad", "\u034f", "\u061c", "\u115f\u1160", "\u180e", "\u200b\u200c\u200d\u2060", "\u2800", "\u3164", "\ufe0f",
    "\ufeff", "\uffa0", "\U000e0041", "\U000e0100", "\x00\x07\x1b", "\x0b\x1c\x1f",
    " \t\r\n\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000",
]  # fmt: skip


@pytest.mark.parametrize("blank", [*BLANK, "".join(BLANK)])
def test_text_that_shows_nothing_is_empty(blank: str) -> None:
    assert clean_text(blank) == trim(blank) == ""
    assert trim(f"{blank}a red{blank}dog{blank}") == f"a red{blank}dog"


@pytest.mark.parametrize(
    "marks",
    [
        "\u0316\u0300",
        "\u0344",
        "\u05b0\u05c1",
        "\u0f73",
        "\u3099\u302a",
        "\u0316\u034f\u0300",
        "\u0316\u200b\u0300",
        "\u200d",
    ],
)
def test_time_grows_linearly_with_the_text(marks: str) -> None:
    """Sorting marks took 16 seconds for a quarter of these."""
    started = time.process_time()
    clean_text("a" + marks * 250_000)
    assert time.process_time() - started < 5


def test_no_kind_of_mark_is_missing_from_the_limit() -> None:
    """A sign of no combining class of its own may become marks in NFC, as three Tibetan ones do."""
    signs = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    marks = {sign for sign in signs if unicodedata.combining(unicodedata.normalize("NFD", sign)[0])}
    assert {sign for sign in marks if not _marks_in_a_row().search(sign * 31)} == set()


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(char) == "Cc" and char not in "\t\n" for char in clean)


FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that count as letters and signs, and show nothing."""


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"], exclude_characters=FILLERS)))
def test_letters_digits_and_signs_stay(text: str) -> None:
    assert clean_text(text) == unicodedata.normalize("NFC", text)
