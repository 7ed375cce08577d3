"""Text of others without what a surface would obey or hide: control characters, overrides of direction, credentials.

Owns which characters are never shown, and the rule that credentials in URLs are not shown either. Every other module of
this room begins with `visible`.
"""

from __future__ import annotations

import re
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


def visible(text: str) -> str:
    """The text with a mark in the place of each character that is never shown; tabs and line feeds stay.

    >>> visible("\\x1b[2Jgone")
    '\N{REPLACEMENT CHARACTER}[2Jgone'
    """
    return UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", without_credentials(text).replace("\r\n", "\n"))
