"""Where hosts are reached, in place of where their names lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

SocketAddress: TypeAlias = tuple[str, int]


Routes: TypeAlias = Mapping[str, SocketAddress]
"""Host name to (address, port) of a server that we run ourselves."""
