"""Hosts that are reached otherwise than those of the public internet: routes to a server here, and lists of hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

SocketAddress: TypeAlias = tuple[str, int]
"""An IP address and a port."""

Routes: TypeAlias = Mapping[str, SocketAddress]
"""Host name to the address of its server: `{"toy.invalid": ("127.0.0.1", 41233)}`."""


def is_listed(host: str, hosts: Collection[str]) -> bool:
    """Whether a host is one of `hosts`, or ends in one that begins with a dot: `.a.example` lists `b.a.example`."""
    return any(host.endswith(one) if one.startswith(".") else host == one for one in hosts)
