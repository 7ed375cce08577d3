"""Whether anybody listens at an address, found out soon: the libraries that speak to servers try for minutes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
SECONDS_TO_ANSWER: Final = 10.0


def look_for(address: str, seconds: float = SECONDS_TO_ANSWER) -> None:
    """Raise OSError where nobody listens at `host:port` or a URL. An address that names no port is let pass."""
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    port = place.port or PORTS.get(place.scheme)
    if place.hostname and port:
        socket.create_connection((place.hostname, port), seconds).close()
