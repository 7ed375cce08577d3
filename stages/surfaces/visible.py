"""Text of others without what a surface would obey or hide: control characters, overrides of direction, credentials.

Owns which characters are never shown, how many marks may stand on one letter, and the rule that credentials in URLs are
not shown either. Every other module of this room begins with `visible`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

from stages.surfaces.credentials import without_credentials

_RANGES: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 but tab and line feed: they move cursors, ring bells, begin escapes
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # marks and overrides of direction, deprecated formats
    "\u00ad\u180e\u200b\u2060-\u2065\ufeff"  # soft hyphens, spaces and joiners of no width: two names look like one
    "\u2028\u2029"  # ends of lines that not every program takes for one
    "\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # notes between lines, music, tags that show nothing
    "\ud800-\udfff"  # halves of surrogate pairs, of which no UTF-8 can be made
    "\ufdd0-\ufdef\ufffe\uffff"  # non-characters
)
UNSHOWN: Final = re.compile(f"[{_RANGES}]")
"""Finds a character that no surface shows. Joiners and variation selectors, which emoji and Persian need, are shown."""
MAX_MARKS: Final = 8
"""Most characters without a width of their own that may follow each other. Tibetan and pointed Hebrew need half."""
_MARKED_PLANES: Final = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))
"""Where Unicode has combining marks and variation selectors."""
MAX_CHARS: Final = 4000
"""Characters of a message of others, such as the text of an error, that are shown."""
_LENGTH_OF_MORE: Final = 40
"""Characters in which it is said how many more there were, at most."""


def visible(text: str) -> str:
    """The text with a mark in the place of each character that is never shown; tabs and line feeds stay.

    Of a flood of marks upon a letter, or of joiners, the first `MAX_MARKS` stay, and one mark for the others.

    >>> visible("\\x1b[2Jgone")
    '\N{REPLACEMENT CHARACTER}[2Jgone'
    """
    shown = UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", without_credentials(text).replace("\r\n", "\n"))
    return shown if shown.isascii() else floods().sub("\\1\N{REPLACEMENT CHARACTER}", shown)


def bounded(text: str, max_chars: int = MAX_CHARS) -> str:
    """The beginning of a message, without credentials, and how much more there was. Cut once, it stays as it is.

    >>> bounded("a" * 5000, 3)
    'aaa... (4,997 more characters)'
    """
    text = without_credentials(text)  # before it is cut: half of a URL is not known for one
    num_more = len(text) - max_chars
    return text if num_more <= _LENGTH_OF_MORE else f"{text[:max_chars]}... ({num_more:,} more characters)"


@cache
def floods() -> re.Pattern[str]:
    """Finds more than `MAX_MARKS` characters in a row that have no width: `(those that stay)` and the others.

    Combining marks that have no width, joiners and variation selectors. Made once, when a text that is not ASCII is
    shown first: it looks at 130,000 characters.
    """
    codes = [code for plane in _MARKED_PLANES for code in plane if unicodedata.category(chr(code)) in ("Mn", "Me")]
    starts = [code for before, code in zip([0, *codes], codes, strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], 0], strict=True) if after != code + 1]
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    signs = f"[{ranges}\u200c\u200d]"
    return re.compile(f"({signs}{{{MAX_MARKS}}}){signs}+")
