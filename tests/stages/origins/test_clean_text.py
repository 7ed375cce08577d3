"""Cleaning loses nothing that a reader would see."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.origins.clean_text import TextEncodingError, clean_text


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
        ("\u200b \u3000", "\u200b"),
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


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(char) == "Cc" and char not in "\t\n" for char in clean)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_letters_digits_and_signs_stay(text: str) -> None:
    assert clean_text(text) == unicodedata.normalize("NFC", text)
