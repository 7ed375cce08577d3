"""One GET request over a blocking socket, and its response under a deadline and a cap on every kind of byte.

Each request has a thread to itself, so the socket is simply read until the message is complete; httptools (llhttp)
parses HTTP in C. Connections are not kept alive: the URLs of a part lead to nearly as many hosts.
"""

from __future__ import annotations

import socket
import ssl
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from typing import TYPE_CHECKING, Final

from stages.download.address import WebAddress
from stages.download.reasons import Reason, RowError
from stages.origins.routes import SocketAddress

if TYPE_CHECKING:
    from httptools import HttpResponseParser

RECEIVE_BYTES: Final = 64 * 1024
"""Bytes read from a socket at once."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest status line and headers; also the room that chunk headers and padding of a body get beyond the body."""
_UNPACK_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment at which a try times out, shared by name resolution, connecting, every read and every redirect."""

    at_seconds: float
    """Seconds on the monotonic clock."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining_seconds(self) -> float:
        """Time left. Raises `RowError` (timeout) when there is none."""
        left = self.at_seconds - time.monotonic()
        if left <= 0:
            raise RowError(Reason.TIMEOUT)
        return left


@dataclass(slots=True)
class HttpResponse:
    """A complete response."""

    status: int
    headers: Message
    body: bytes
    """The body after its content encoding was undone."""


@dataclass(slots=True)
class _Collector:
    """Collects what the parser calls back. It never raises, because the parser would hide the error.

    Informational responses (1xx) before the final one are forgotten. Bytes behind the final one are ignored: whether
    they have arrived yet is a matter of timing.
    """

    headers: Message = field(default_factory=Message)
    chunks: list[bytes] = field(default_factory=list)
    num_body_bytes: int = 0
    status: int = 0
    has_headers: bool = False
    is_complete: bool = False
    parser: HttpResponseParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with each header."""
        if not self.is_complete:
            self.headers[name.decode("latin-1")] = _decoded(value)

    def on_headers_complete(self) -> None:
        """Called behind the last header."""
        if not self.is_complete and self.parser is not None:
            self.status, self.has_headers = self.parser.get_status_code(), True

    def on_body(self, data: bytes) -> None:
        """Called with each piece of the body, chunked encoding undone."""
        if not self.is_complete:
            self.chunks.append(data)
            self.num_body_bytes += len(data)

    def on_message_complete(self) -> None:
        """Called at the end of an informational response and of the final one."""
        if self.status >= 200:
            self.is_complete = True
        else:
            self.headers, self.has_headers = Message(), False

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection marks the end of the body (HTTP/1.0 style)."""
        return self.has_headers and not {"content-length", "transfer-encoding"} & {
            name.lower() for name in self.headers
        }


def get_once(
    address: WebAddress,
    targets: Iterable[SocketAddress],
    headers: Iterable[tuple[str, str]],
    deadline: Deadline,
    max_body_bytes: int,
) -> HttpResponse:
    """GET `address` from the first of `targets` that accepts a connection: one request, no retry. Raises `RowError`."""
    try:
        connection = _connect(address, targets, deadline)
        with connection:
            connection.sendall(_request(address, headers))
            collector = _receive(connection, deadline, max_body_bytes)
    except TimeoutError as error:
        raise RowError(Reason.TIMEOUT) from error
    except ssl.SSLError as error:
        raise RowError(Reason.TLS_ERROR) from error
    except OSError as error:
        raise RowError(Reason.CONNECT_ERROR) from error
    body = _unpacked(b"".join(collector.chunks), collector.headers, max_body_bytes)
    return HttpResponse(collector.status, collector.headers, body)


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


def _request(address: WebAddress, headers: Iterable[tuple[str, str]]) -> bytes:
    fixed = [
        ("Host", address.authority),
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    lines = [f"GET {address.target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*fixed, *headers]), "", ""]
    return "\r\n".join(lines).encode("ascii")


def _receive(connection: socket.socket, deadline: Deadline, max_body_bytes: int) -> _Collector:
    """Read until the message is complete. All bytes count against the caps, chunk headers and padding included."""
    from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

    collector = _Collector()
    collector.parser = parser = HttpResponseParser(collector)
    num_wire_bytes = 0
    while not collector.is_complete:
        connection.settimeout(deadline.remaining_seconds())
        data = connection.recv(RECEIVE_BYTES)
        if not data:
            if collector.ends_with_connection:
                break
            raise RowError(Reason.CUT_SHORT)
        num_wire_bytes += len(data)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not collector.is_complete:
                raise RowError(Reason.BAD_RESPONSE) from error
        _check_sizes(collector, num_wire_bytes, max_body_bytes)
    return collector


def _check_sizes(collector: _Collector, num_wire_bytes: int, max_body_bytes: int) -> None:
    announced = collector.headers.get("Content-Length", "0").strip()
    announced_bytes = int(announced) if announced.isdecimal() and collector.has_headers else 0
    if not collector.has_headers and num_wire_bytes > MAX_HEAD_BYTES:
        raise RowError(Reason.BAD_RESPONSE)
    # An unfinished message is also capped by its bytes on the wire: a chunked body may consist of chunk headers mostly.
    # With a cap of 20 MB and 64 KiB for the head, it is cut off after 20,065,536 bytes.
    num_open_bytes = 0 if collector.is_complete else num_wire_bytes - MAX_HEAD_BYTES
    if max(announced_bytes, num_open_bytes, collector.num_body_bytes) > max_body_bytes:
        raise RowError(Reason.TOO_LARGE)


def _decoded(value: bytes) -> str:
    """A header's value: UTF-8 as most servers send it, else Latin-1 as the standard has it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unpacked(body: bytes, headers: Message, max_body_bytes: int) -> bytes:
    """Undo gzip or deflate, which some servers send unasked; never more than one byte beyond the cap is unpacked."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RowError(Reason.BAD_ENCODING)
    unpacker = zlib.decompressobj(_UNPACK_GZIP_OR_ZLIB)
    try:
        plain = unpacker.decompress(body, max_body_bytes + 1)
    except zlib.error as error:
        raise RowError(Reason.BAD_ENCODING) from error
    if len(plain) > max_body_bytes:
        raise RowError(Reason.TOO_LARGE)
    if not unpacker.eof:
        raise RowError(Reason.CUT_SHORT)
    return plain
