"""Reads one HTTP/1 response from a connection, as leniently as urllib and curl do.

Servers send header lines without a colon, with a blank before it or in two pieces, lengths twice, codings of no
meaning. What both clients understand is understood here (`tests/stages/download/test_odd_answers.py` compares them).
Every kind of byte is capped: a head, a body, and what a chunked body has beside its content.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO, Final

from stages.contract import StageError
from stages.download.reasons import Reason, RowError

RECEIVE_BYTES: Final = 64 * 1024
"""Bytes read from a socket at once."""
MAX_HEAD_BYTES: Final = 256 * 1024
"""Largest status line and headers; also the room that chunk headers and padding of a body get beyond the body."""
MAX_NUMBER_DIGITS: Final = 18
_STATUS_LINE: Final = re.compile(rb"HTTP/\d(?:\.\d+)?[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]+")
_LENGTH: Final = re.compile(r"[0-9]+")


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
    """The body; empty where the status says that it is not what was asked for, and where it went into a file."""
    num_body_bytes: int = 0
    """Length of the body as it was sent, wherever it went."""


class Wire:
    """The bytes that arrive on a connection, in order, under a deadline and the cap on all of them."""

    def __init__(self, connection: socket.socket, deadline: Deadline, max_body_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = bytearray()
        self._num_wire_bytes = 0
        self.max_body_bytes = max_body_bytes
        self.is_in_head = True

    def line(self) -> bytes:
        """The next line without its end. Raises `RowError` (cut_short)."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if not self._fill():
                raise RowError(Reason.CUT_SHORT)
        return self._take(end + 1).rstrip(b"\r\n")

    def exactly(self, num_bytes: int) -> bytes:
        """The next `num_bytes` bytes. Raises `RowError` (cut_short)."""
        while len(self._buffer) < num_bytes:
            if not self._fill():
                raise RowError(Reason.CUT_SHORT)
        return self._take(num_bytes)

    def rest(self) -> bytes:
        """Everything up to the end of the connection. Raises `RowError` (too_large)."""
        while self._fill():
            if len(self._buffer) > self.max_body_bytes:
                raise RowError(Reason.TOO_LARGE)
        return self._take(len(self._buffer))

    def copy(self, num_bytes: int | None, sink: BinaryIO) -> int:
        """Write the next `num_bytes` bytes, or all that come, into `sink` as they arrive; returns how many.

        Holds what one call receives. Raises `RowError` (cut_short, too_large), and `StageError` where the disk is full.
        """
        num_copied = 0
        while num_bytes is None or num_copied < num_bytes:
            if not self._buffer and not self._fill():
                if num_bytes is None:
                    break
                raise RowError(Reason.CUT_SHORT)
            wanted = len(self._buffer) if num_bytes is None else min(len(self._buffer), num_bytes - num_copied)
            try:
                num_copied += sink.write(self._take(wanted))
            except OSError as error:  # of the disk: it must not be taken for one of the connection
                raise StageError(f"scratch cannot hold a response body: {error}") from error
            if num_copied > self.max_body_bytes:
                raise RowError(Reason.TOO_LARGE)
        return num_copied

    def _take(self, num_bytes: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:num_bytes])
        del self._buffer[:num_bytes]
        return taken

    def _fill(self) -> bool:
        """Receive more bytes; False at the end of the connection.

        All bytes count, because a chunked body may consist of chunk headers mostly: with a cap of 20 MB and 256 KiB for
        the head, the connection is left after about 20,262,144 bytes.
        """
        if self.is_in_head and self._num_wire_bytes > MAX_HEAD_BYTES:
            raise RowError(Reason.BAD_RESPONSE)
        if self._num_wire_bytes > MAX_HEAD_BYTES + self.max_body_bytes:
            raise RowError(Reason.TOO_LARGE)
        self._connection.settimeout(self._deadline.remaining_seconds())
        data = self._connection.recv(RECEIVE_BYTES)
        self._num_wire_bytes += len(data)
        self._buffer += data
        return bool(data)


def read_response(wire: Wire, sink: BinaryIO | None = None) -> HttpResponse:
    """The final response; informational ones (1xx) before it are forgotten. Raises `RowError`.

    Only a success (2xx) has its body read: of any other answer, status and headers say all that is needed. With a
    `sink` the body is written there as it arrives, in place of what an earlier try left.
    """
    while True:
        status, headers = _read_head(wire)
        if status >= 200:
            break
    wire.is_in_head = False
    has_body = 200 <= status < 300 and status != 204
    if not has_body:
        return HttpResponse(status, headers, b"")
    if sink is None:
        body = _read_body(wire, headers)
        return HttpResponse(status, headers, body, len(body))
    sink.seek(0)
    sink.truncate()
    return HttpResponse(status, headers, b"", _copy_body(wire, headers, sink))


def tokens(headers: Message, name: str) -> list[str]:
    """The parts between commas of all headers of a name, in order, in lower case; blank ones are left out."""
    parts = (part.strip().lower() for value in headers.get_all(name, []) for part in value.split(","))
    return [part for part in parts if part]


def _read_head(wire: Wire) -> tuple[int, Message]:
    line = wire.line()
    while not line:  # some servers send an empty line first
        line = wire.line()
    match = _STATUS_LINE.match(line)
    if match is None:
        raise RowError(Reason.BAD_RESPONSE)
    headers = Message()
    for name, value in _header_lines(wire):
        headers[name] = value
    return int(match[1]), headers


def _header_lines(wire: Wire) -> Iterator[tuple[str, str]]:
    """Names and values up to the empty line. Lines that are no header are passed over, continued ones are joined."""
    name, value = b"", b""
    while line := wire.line():
        if line[0] in b" \t":
            value += b" " + line.strip()
            continue
        if _NAME.fullmatch(name):
            yield name.decode("ascii"), _decoded(value)
        name, colon, value = line.partition(b":")
        name, value = name.strip() if colon else b"", value.strip()
    if _NAME.fullmatch(name):
        yield name.decode("ascii"), _decoded(value)


def _read_body(wire: Wire, headers: Message) -> bytes:
    if "chunked" in tokens(headers, "Transfer-Encoding"):
        return _read_chunks(wire)
    length = _announced_bytes(headers)
    if length is None:
        return wire.rest()
    if length > wire.max_body_bytes:
        raise RowError(Reason.TOO_LARGE)
    return wire.exactly(length)


def _copy_body(wire: Wire, headers: Message, sink: BinaryIO) -> int:
    if "chunked" in tokens(headers, "Transfer-Encoding"):
        return sum(wire.copy(chunk_bytes, sink) for chunk_bytes in _chunk_sizes(wire))
    length = _announced_bytes(headers)
    if length is not None and length > wire.max_body_bytes:
        raise RowError(Reason.TOO_LARGE)
    return wire.copy(length, sink)


def _read_chunks(wire: Wire) -> bytes:
    """The content of a chunked body."""
    return b"".join(wire.exactly(chunk_bytes) for chunk_bytes in _chunk_sizes(wire))


def _chunk_sizes(wire: Wire) -> Iterator[int]:
    """The length of each chunk, whose content is to be read before the next is asked for.

    What follows the last chunk is not waited for: the connection is closed.
    """
    num_bytes = 0
    while True:
        size = wire.line().partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size) or len(size.lstrip(b"0")) > MAX_NUMBER_DIGITS:
            raise RowError(Reason.BAD_RESPONSE)
        chunk_bytes = int(size, 16)
        if chunk_bytes == 0:
            return
        num_bytes += chunk_bytes
        if num_bytes > wire.max_body_bytes:
            raise RowError(Reason.TOO_LARGE)
        yield chunk_bytes
        if wire.line().strip():
            raise RowError(Reason.BAD_RESPONSE)


def _announced_bytes(headers: Message) -> int | None:
    """The one length that the headers give; None where none is a number, and the connection's end is the body's.

    Raises `RowError` (bad_response) where two lengths differ: urllib believes the first and curl the last.
    """
    lengths = {part.lstrip("0") or "0" for part in tokens(headers, "Content-Length") if _LENGTH.fullmatch(part)}
    if len(lengths) > 1:
        raise RowError(Reason.BAD_RESPONSE)
    return int(lengths.pop()[: MAX_NUMBER_DIGITS + 1]) if lengths else None


def _decoded(value: bytes) -> str:
    """A header's value: UTF-8 as most servers send it, else Latin-1 as the standard has it; without line ends."""
    value = value.replace(b"\r", b" ")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
