"""A quick check whether a server listens at an address; the clients of Ray and MLflow retry for minutes.

A URL is asked for through the proxy that the environment names for it, as these clients do.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
TIMEOUT_SECONDS: Final = 10.0


def check_listening(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Raise OSError if no server listens at `host:port` or a URL. An address without a port is not checked.

    Where `HTTPS_PROXY` or `HTTP_PROXY` and `NO_PROXY` send a URL through a proxy, it is the proxy that must listen.
    """
    proxy = proxy_of(address)
    url = urlsplit(proxy or (address if "://" in address else f"tcp://{address}"))
    port = url.port or DEFAULT_PORTS.get(url.scheme)
    if not (url.hostname and port):
        return
    try:
        socket.create_connection((url.hostname, port), timeout_seconds).close()
    except OSError as error:
        if not proxy:
            raise
        message = f"the proxy {url.hostname}:{port}, which the environment names for it, does not answer: {error}"
        raise type(error)(error.errno, message) from error


def proxy_of(address: str) -> str:
    """URL of the proxy by which the clients of Ray and MLflow ask for a URL; '' if they ask its server itself."""
    if urlsplit(address).scheme not in DEFAULT_PORTS or not getproxies():
        return ""
    from requests.utils import get_environ_proxies, select_proxy  # what those clients decide by

    proxy = select_proxy(address, get_environ_proxies(address)) or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"
