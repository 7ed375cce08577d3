"""One cleaning for all text that a model may learn from: captions, documents, messages.

Nothing is lost that a reader would see. What goes are characters that only machines notice (control characters, byte
order marks, marks that reverse the direction of what follows) and differences that only machines notice (composed
against decomposed letters, kinds of line ends).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LINE_END: Final = re.compile("\r\n?|\u2028|\u2029|\x85")
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1 controls but tab and newline
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks and overrides of direction
    "\ufeff\ufff9-\ufffb\ufffe\uffff]"  # byte order marks, interlinear notes, non-characters
)
_LONG_MARKS: Final = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
"""More combining marks on one letter than any language writes."""


class TextEncodingError(ValueError):
    """Bytes that are not UTF-8, or text that UTF-8 cannot spell."""


def clean_text(text: str | bytes) -> str:
    """The text in NFC, without invisible characters and outer white space. Raises `TextEncodingError`."""
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        plain.encode()
    except UnicodeError as error:
        raise TextEncodingError(str(error)) from error
    if plain.isascii() and plain.isprintable():
        return plain.strip()
    plain = _INVISIBLE.sub("", _LINE_END.sub("\n", plain))
    return _LONG_MARKS.sub(r"\1", unicodedata.normalize("NFC", plain)).strip()
