"""Routes: fixed addresses of hosts that are served on this machine, used instead of name resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

SocketAddress: TypeAlias = tuple[str, int]
"""An IP address and a port."""

Routes: TypeAlias = Mapping[str, SocketAddress]
"""Host name to the address of its server: `{"toy.invalid": ("127.0.0.1", 41233)}`."""
