"""Hosts of URLs, as servers know them, and what lies below a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

MAX_KNOWN_HOSTS: Final = 2**17
"""Hosts of which something is remembered: some 20 MB."""
HOST: Final = r"^(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//(?:[^/?#]*@)?(?P<host>\[[0-9A-Fa-f:.]*\]|[^/?#:@]*)"
"""The host of a URL: `HTTPS://me@Shop.Example.org:8080/a.jpg` has `Shop.Example.org`."""
_ADDRESS: Final = re.compile(r"[0-9.]+|\[.*\]")


def host_of(url: str) -> str:
    """The host of a URL, as `plain_host` spells it; '' where it has none."""
    found = re.match(HOST, url)
    return plain_host(found["host"]) if found else ""


@lru_cache(maxsize=MAX_KNOWN_HOSTS)
def plain_host(host: str) -> str:
    """A host as servers know it, without empty labels: `.MÜNCHEN..example.` is `xn--mnchen-3ya.example`."""
    host = host.lower().strip(".")
    host = ".".join(filter(None, host.split("."))) if ".." in host else host
    if host.isascii():
        return host
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return host


def is_address(host: str) -> bool:
    """Whether a host is an address, below which nothing lies."""
    return _ADDRESS.fullmatch(host) is not None


def is_within(host: str, domain: str) -> bool:
    """Whether a host is `domain` or lies below it. Nothing lies below an address."""
    return host == domain or (host.endswith(f".{domain}") and not is_address(domain))


def with_above(host: str) -> Iterator[str]:
    """A host and all names above it.

    >>> list(with_above("a.example.org"))
    ['a.example.org', 'example.org', 'org']
    """
    yield host
    if not is_address(host):
        labels = host.split(".")
        yield from (".".join(labels[first:]) for first in range(1, len(labels)))
