"""The one cleaning of all text that a model is trained on: captions, documents, messages.

Nothing is removed that a reader would see. Invisible characters go (control characters, byte order marks, overrides of
writing direction), and equivalent spellings become one (composed and decomposed letters, kinds of line ends).
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
"""More than four combining marks on one letter, which no language writes."""


class TextEncodingError(ValueError):
    """Bytes that are not UTF-8, or text that cannot be encoded as UTF-8 (lone surrogates)."""


def clean_text(text: str | bytes) -> str:
    """The text in NFC, without invisible characters and surrounding white space. Raises `TextEncodingError`."""
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        plain.encode()
    except UnicodeError as error:
        raise TextEncodingError(str(error)) from error
    if plain.isascii() and plain.isprintable():
        return plain.strip()
    plain = _INVISIBLE.sub("", _LINE_END.sub("\n", plain))
    return _LONG_MARKS.sub(r"\1", unicodedata.normalize("NFC", plain)).strip()
