"""One GET request over a blocking socket, under a deadline and a cap on every kind of byte.

For callers that have a thread to spare for each request: img2dataset's and the fetching of files. Connections are not
kept. What a request says and what becomes of a response is decided here for the event loop, too.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from functools import cache
from typing import BinaryIO, Final

from stages.download.http.content_codings import is_coded, undo_codings
from stages.download.http.http_message import RECEIVE_BYTES, BodyCap, Deadline, HttpResponse, Wire, read_response
from stages.download.reasons import Reason, RowError
from stages.origins.routes import SocketAddress
from stages.origins.web_address import WebAddress

ACCEPT: Final = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,*/*;q=0.1"
"""The formats that are decoded. Servers that choose by this header must not choose AVIF or SVG; those that know the
picture under no such name would refuse a request without the last entry."""


def get_once(
    address: WebAddress,
    targets: Iterable[SocketAddress],
    headers: Iterable[tuple[str, str]],
    deadline: Deadline,
    cap: BodyCap,
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
            connection.sendall(request_bytes(address, headers, ACCEPT if sink is None else "*/*"))
            response = _received(connection, deadline, cap, sink)
    except OSError as error:
        raise RowError(reason_of_socket_error(error)) from error
    if sink is None:
        return uncoded(response, cap)
    if response.num_body_bytes and is_coded(response.headers):
        raise RowError(Reason.BAD_ENCODING)
    return response


def request_bytes(
    address: WebAddress, headers: Iterable[tuple[str, str]], accept: str = ACCEPT, *, is_kept: bool = False
) -> bytes:
    """A GET request; `is_kept` asks the server to leave the connection open for another one."""
    fixed = [("Host", address.authority), ("Accept", accept), ("Accept-Encoding", "identity")]
    fixed += [] if is_kept else [("Connection", "close")]
    lines = [f"GET {address.target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*fixed, *headers]), "", ""]
    return "\r\n".join(lines).encode("ascii")


def uncoded(response: HttpResponse, cap: BodyCap) -> HttpResponse:
    """The response with its body as it was before it was coded. Raises `RowError`."""
    response.body = undo_codings(response.body, response.headers, cap)
    response.num_body_bytes = len(response.body)
    return response


def reason_of_socket_error(error: OSError) -> Reason:
    """Why a connection broke or did not come about."""
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    return Reason.TLS_ERROR if isinstance(error, ssl.SSLError) else Reason.CONNECT_ERROR


@cache
def tls_context() -> ssl.SSLContext:
    """The one context of a process; to make one reads all certificates of the machine."""
    return ssl.create_default_context()


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
        return tls_context().wrap_socket(connection, server_hostname=address.host)
    raise failure


def _received(connection: socket.socket, deadline: Deadline, cap: BodyCap, sink: BinaryIO | None) -> HttpResponse:
    reading = read_response(Wire(cap), sink)
    next(reading)
    while True:
        connection.settimeout(deadline.remaining_seconds())
        try:
            reading.send(connection.recv(RECEIVE_BYTES))
        except StopIteration as end:
            response: HttpResponse = end.value
            return response
