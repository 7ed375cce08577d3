"""One GET request over a blocking socket, under a deadline and a cap on every kind of byte.

Each request has a thread to itself, so the socket is simply read until the message is complete. Connections are not
kept alive: the URLs of a part lead to nearly as many hosts.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from functools import cache
from typing import BinaryIO, Final

from stages.download.address import WebAddress
from stages.download.content_codings import is_coded, undo_codings
from stages.download.http_message import Deadline, HttpResponse, Wire, read_response
from stages.download.reasons import Reason, RowError
from stages.origins.routes import SocketAddress

ACCEPT: Final = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,*/*;q=0.1"
"""The formats that are decoded. Servers that choose by this header must not choose AVIF or SVG; those that know the
picture under no such name would refuse a request without the last entry."""


def get_once(
    address: WebAddress,
    targets: Iterable[SocketAddress],
    headers: Iterable[tuple[str, str]],
    deadline: Deadline,
    max_body_bytes: int,
    *,
    sink: BinaryIO | None = None,
) -> HttpResponse:
    """GET `address` from the first of `targets` that accepts a connection: one request, no retry. Raises `RowError`.

    With a `sink` the body goes there as it arrives, whatever it is; one that is coded is refused, for it was not asked
    for and a file would have to be written twice.
    """
    try:
        connection = _connect(address, targets, deadline)
        with connection:
            connection.sendall(_request(address, headers, ACCEPT if sink is None else "*/*"))
            response = read_response(Wire(connection, deadline, max_body_bytes), sink)
    except TimeoutError as error:
        raise RowError(Reason.TIMEOUT) from error
    except ssl.SSLError as error:
        raise RowError(Reason.TLS_ERROR) from error
    except OSError as error:
        raise RowError(Reason.CONNECT_ERROR) from error
    if sink is None:
        response.body = undo_codings(response.body, response.headers, max_body_bytes)
        response.num_body_bytes = len(response.body)
    elif response.num_body_bytes and is_coded(response.headers):
        raise RowError(Reason.BAD_ENCODING)
    return response


def _connect(address: WebAddress, targets: Iterable[SocketAddress], deadline: Deadline) -> socket.socket:
    failure: OSError = ConnectionError(f"no address for {address.host}")
    for target in targets:
        try:
            connection = socket.create_connection(target, timeout=deadline.remaining_seconds())
        except OSError as error:
            failure = error
            continue
        if address.scheme == "http":
            return connection
        connection.settimeout(deadline.remaining_seconds())
        return _tls().wrap_socket(connection, server_hostname=address.host)
    raise failure


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(address: WebAddress, headers: Iterable[tuple[str, str]], accept: str) -> bytes:
    fixed = [
        ("Host", address.authority),
        ("Accept", accept),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    lines = [f"GET {address.target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*fixed, *headers]), "", ""]
    return "\r\n".join(lines).encode("ascii")
