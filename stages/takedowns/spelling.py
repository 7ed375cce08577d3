"""How names are compared: by their text, by the URL that we ask for, and by its host. A list and a table alike.

A table has one address in many spellings (`https://Example.org:443/a b.jpg#top`), and the same one is asked for: a
person who wants it forgotten does not know how it is spelled where.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from stages.origins.clean_text import trim
from stages.origins.web_address import MAX_URL_CHARS, AddressError, ascii_host, read_address
from stages.takedowns.hosts import host_of, plain_host

WEB: Final = re.compile(r"(https?)://", re.IGNORECASE)
_PLAIN: Final = re.compile(
    r"https?://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)/[\w.~%/:=&+!$,;'@()*\[\]|-]*(?:\?[\w.~%/:=&?+!$,;'@()*\[\]|-]+)?",
    re.ASCII,
)
"""A URL that is asked for as it stands: most are, and need not be taken apart."""


class Spelled(NamedTuple):
    """A name, as it is compared."""

    text: str
    """The name as it was typed, without blanks and invisible characters around it."""
    url: str
    """The URL that we ask for; the text where it is none that may be asked for."""
    host: str
    """The host of the URL; '' where it has none."""


def spelled(name: str) -> Spelled:
    """A URL or another name of a picture, as it is compared."""
    plain = _PLAIN.fullmatch(name)
    if plain is not None and len(name) <= MAX_URL_CHARS:
        return Spelled(name, name, plain[1])
    text = name if name.isascii() and name[:1] > " " and "\x7f" > name[-1:] > " " else trim(name)
    if not WEB.match(text):
        return Spelled(text, text, host_of(text))
    try:
        address = read_address(text)
    except AddressError:  # such a URL is never asked for, and is known by its text
        return Spelled(text, text, host_of(text))
    return Spelled(text, address.url, plain_host(f"[{address.host}]" if ":" in address.host else address.host))


def spelled_host(host: str) -> str:
    """A host as `spelled` has it: `.MÜNCHEN.Example.` is `xn--mnchen-3ya.example`, and `i❤.ws` is `xn--i-7iq.ws`."""
    text = trim(host)
    try:
        return plain_host(ascii_host(text))
    except ValueError:
        return plain_host(text)
