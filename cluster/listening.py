"""A quick check whether a server listens at an address; the clients of Ray and MLflow retry for minutes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
TIMEOUT_SECONDS: Final = 10.0


def check_listening(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Raise OSError if no server listens at `host:port` or a URL. An address without a port is not checked."""
    url = urlsplit(address if "://" in address else f"tcp://{address}")
    port = url.port or DEFAULT_PORTS.get(url.scheme)
    if url.hostname and port:
        socket.create_connection((url.hostname, port), timeout_seconds).close()
