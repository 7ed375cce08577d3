"""The one cleaning of all text that a model is trained on: captions, documents, messages.

Owns what counts as visible. Nothing is removed that a reader would see. Invisible characters go (control characters,
byte order marks, zero-width spaces, soft hyphens, overrides of writing direction), those that separate lines or words
become a line end or a space, and equivalent spellings become one (composed and decomposed letters, kinds of line ends).
Invisible characters that shape their neighbours stay: joiners in emoji and in Indic and Arabic script, and variation
selectors. Text that shows nothing is empty. Time and memory grow linearly with the text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

_LINE_END: Final = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS: Final = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # C0 and C1 but white space, which ends lines or parts words
_FORMATS: Final = (
    "\u00ad\u180e\u200b\u2060-\u2064"  # soft hyphen, spaces and joiners of no width, invisible operators
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # marks and overrides of direction, deprecated format characters
    "\ufeff\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # byte order marks, notes between lines, music
    "\ufdd0-\ufdef\ufffe\uffff"  # non-characters
)
# Tag characters spell the flags of regions behind a black flag, and are invisible anywhere else.
_FLAG: Final = "\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f"
_INVISIBLE: Final = re.compile(f"({_FLAG})|[{_CONTROLS}{_FORMATS}\U000e0000-\U000e007f]")
_SELECTORS: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_JOINERS: Final = "\u034f\u200c\u200d"
_REPEATED: Final = re.compile(f"([{_SELECTORS}])[{_SELECTORS}]+|([{_JOINERS}]{{2}})[{_JOINERS}]+")
"""Variation selectors behind the first, and joiners behind the second in a row: none of them shapes anything."""
_BLANKS: Final = "\u115f\u1160\u3164\uffa0\u2800"
"""Fillers of Korean script and the empty pattern of Braille, which count as a letter and a sign and show nothing."""
_SHOWING_NOTHING: Final = f"{_FORMATS}{_SELECTORS}{_JOINERS}{_BLANKS}\U000e0000-\U000e007f"
_MARKS: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
_LONG_MARKS: Final = re.compile(f"([{_MARKS}]{{4}})[{_MARKS}]+")
"""More than four combining marks on one letter, which no language writes."""
_MAX_MARKS_NORMALISED: Final = 30
"""Combining marks in a row that are normalised, as in Unicode's stream-safe text format (UAX 15): sorting them takes
time that grows with the square of their number."""
_CODES_SHOWING_NOTHING: Final = (*range(0x10000), *range(0x1BCA0, 0x1D17B), *range(0xE0000, 0xE01F0))
_LAST_MARK: Final = 0x1E94A
"""Highest code point of a combining mark."""


class TextEncodingError(ValueError):
    """Bytes that are not UTF-8, or text that cannot be encoded as UTF-8 (lone surrogates)."""


def clean_text(text: str | bytes) -> str:
    """The text in NFC, without invisible characters and surrounding white space. Raises `TextEncodingError`."""
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        plain.encode()
    except UnicodeError as error:
        raise TextEncodingError(str(error)) from error
    if (plain.isascii() and plain.isprintable()) or not _unusual().search(plain):
        return unicodedata.normalize("NFC", plain).strip()
    plain = _LINE_END.sub("\n", plain).replace("\x1f", " ")
    plain = _REPEATED.sub(r"\1\2", _INVISIBLE.sub(r"\1", plain))
    plain = unicodedata.normalize("NFC", _marks_in_a_row().sub(r"\1", plain))
    plain = _LONG_MARKS.sub(r"\1", plain).strip()
    return plain if trim(plain) else ""


def trim(text: str) -> str:
    """The text without white space and invisible characters around it; "" where no character is visible."""
    return text.strip(_unseen())


@cache
def _unusual() -> re.Pattern[str]:
    """Finds a character that more than NFC may change, and some others: one class of few ranges is quick to search."""
    planes = f"\U00010000-{chr(_LAST_MARK)}\U000e0000-\U000e0fff"
    low_marks = "".join(sign for sign in _marks() if ord(sign) < 0x10000)
    return re.compile(f"[\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029{_CONTROLS}{_SHOWING_NOTHING}{low_marks}{planes}]")


@cache
def _unseen() -> str:
    """All characters that show nothing by themselves, as `str.strip` takes them."""
    nothing = re.compile(f"[\\s{_CONTROLS}{_SHOWING_NOTHING}]")
    return "".join(chr(code) for code in _CODES_SHOWING_NOTHING if nothing.match(chr(code)))


@cache
def _marks_in_a_row() -> re.Pattern[str]:
    """Finds marks behind the first `_MAX_MARKS_NORMALISED` in a row."""
    codes = sorted(map(ord, _marks()))
    starts = [code for code, before in zip(codes, [-1, *codes], strict=False) if code != before + 1]
    ends = [code for code, behind in zip(codes, [*codes[1:], -1], strict=True) if behind != code + 1]
    marks = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return re.compile(f"([{marks}]{{{_MAX_MARKS_NORMALISED}}})[{marks}]+")


@cache
def _marks() -> str:
    """All combining marks, and three Tibetan signs that NFC takes apart into marks."""
    codes = [code for code in range(0x300, _LAST_MARK + 1) if unicodedata.combining(chr(code))]
    return "".join(map(chr, [*codes, 0x0F73, 0x0F75, 0x0F81]))
