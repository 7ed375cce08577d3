"""Reads one HTTP/1 response out of the bytes that arrive, as leniently as urllib and curl do; does no input itself.

Servers send header lines without a colon, with a blank before it or in two pieces, lengths twice, codings of no
meaning. What both clients understand is understood here (`tests/stages/download/http/test_odd_answers.py` compares
them). Every kind of byte is capped: a head, a body, and what a chunked body has beside its content.

The owner of a connection drives the reader, blocking or in an event loop: `Reading` says where more bytes are needed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO, Final, TypeAlias, TypeVar

from stages.contract import StageError
from stages.download.reasons import Reason, RowError

RECEIVE_BYTES: Final = 64 * 1024
"""Bytes read from a socket at once."""
MAX_HEAD_BYTES: Final = 256 * 1024
"""Largest status line and headers; also the room that chunk headers and padding of a body get beyond the body."""
MAX_NUMBER_DIGITS: Final = 18
_STATUS_LINE: Final = re.compile(rb"HTTP/(\d(?:\.\d+)?)[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]+")
_LENGTH: Final = re.compile(r"[0-9]+")

_T = TypeVar("_T")
Reading: TypeAlias = Generator[None, bytes, _T]
"""A reader in progress. It yields where it needs more bytes, and is sent what arrived: b"" at the end of the
connection. Its return value is what was read:

    reading = read_response(Wire(BodyCap(20_000_000)))
    next(reading)
    try:
        while True:
            reading.send(connection.recv(RECEIVE_BYTES))
    except StopIteration as end:
        response = end.value
"""


@dataclass(slots=True)
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

    def restart(self, seconds: float) -> None:
        """Let it pass `seconds` from now: what was tried before does not count."""
        self.at_seconds = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Give back time in which the try stood in a queue of ours."""
        self.at_seconds += seconds


@dataclass(frozen=True, slots=True)
class BodyCap:
    """How much of a body may come, as sent and after decompression."""

    num_bytes: int
    takes_beginning: bool = False
    """Whether of a longer body the beginning is taken; else it is refused."""

    def allowed(self, num_bytes: int) -> int:
        """`num_bytes`, or as many of them as are taken. Raises `RowError` (too_large)."""
        if num_bytes > self.num_bytes and not self.takes_beginning:
            raise RowError(Reason.TOO_LARGE)
        return min(num_bytes, self.num_bytes)


@dataclass(slots=True)
class HttpResponse:
    """A complete response."""

    status: int
    headers: Message
    body: bytes
    """The body; empty where the status says that it is not what was asked for, and where it went into a file."""
    num_body_bytes: int = 0
    """Length of the body as it was sent, wherever it went."""
    is_reusable: bool = False
    """Whether the connection may carry another request: the response had one plain end, and nothing came behind it."""


class Wire:
    """The bytes of a connection, in order, under caps on each kind of them."""

    def __init__(self, cap: BodyCap) -> None:
        self.cap = cap
        self.is_in_head = True
        self.is_cut = False
        """Whether the beginning of a longer body was taken, so that its end is still to come."""
        self._buffer = bytearray()
        self._num_line_bytes = 0

    @property
    def waiting(self) -> bytes:
        """What arrived and was not read yet."""
        return bytes(self._buffer)

    def line(self) -> Reading[bytes]:
        """The next line without its end. Raises `RowError` (cut_short, and bad_response or too_large for too many).

        Lines count together, because a chunked body may consist of chunk headers mostly: with a cap of 20 MB and 256
        KiB for lines, a connection is left after about 20,262,144 bytes.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            self._check_lines(searched)
            if not (yield from self._fill()):
                raise RowError(Reason.CUT_SHORT)
        self._check_lines(end + 1)
        self._num_line_bytes += end + 1
        return self._take(end + 1).rstrip(b"\r\n")

    def exactly(self, num_bytes: int) -> Reading[bytes]:
        """The next `num_bytes` bytes, copied once. Raises `RowError` (cut_short)."""
        pieces = [self._take(min(num_bytes, len(self._buffer)))]
        missing = num_bytes - len(pieces[0])
        while missing > 0:
            data = yield
            if not data:
                raise RowError(Reason.CUT_SHORT)
            pieces.append(data)
            missing -= len(data)
        if missing < 0:
            last = pieces.pop()
            pieces.append(last[:missing])
            self._buffer += last[missing:]
        return b"".join(pieces)

    def rest(self) -> Reading[bytes]:
        """Everything up to the end of the connection. Raises `RowError` (too_large)."""
        while self.allowed(len(self._buffer)) == len(self._buffer):
            if not (yield from self._fill()):
                return self._take(len(self._buffer))
        return self._take(self.cap.num_bytes)

    def allowed(self, num_bytes: int) -> int:
        """How many of the `num_bytes` of a body are read. Raises `RowError` (too_large)."""
        allowed = self.cap.allowed(num_bytes)
        self.is_cut = allowed < num_bytes
        return allowed

    def copy(self, num_bytes: int | None, sink: BinaryIO) -> Reading[int]:
        """Write the next `num_bytes` bytes, or all that come, into `sink` as they arrive; returns how many.

        Holds what one call receives. Raises `RowError` (cut_short, too_large), and `StageError` where the disk is full.
        """
        num_copied = 0
        while num_bytes is None or num_copied < num_bytes:
            if not self._buffer and not (yield from self._fill()):
                if num_bytes is None:
                    break
                raise RowError(Reason.CUT_SHORT)
            wanted = len(self._buffer) if num_bytes is None else min(len(self._buffer), num_bytes - num_copied)
            try:
                num_copied += sink.write(self._take(wanted))
            except OSError as error:  # of the disk: it must not be taken for one of the connection
                raise StageError(f"scratch cannot hold a response body: {error}") from error
            if num_copied > self.cap.num_bytes:
                raise RowError(Reason.TOO_LARGE)
        return num_copied

    def _take(self, num_bytes: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:num_bytes])
        del self._buffer[:num_bytes]
        return taken

    def _fill(self) -> Reading[bool]:
        """Wait for more bytes; False at the end of the connection."""
        data = yield
        self._buffer += data
        return bool(data)

    def _check_lines(self, num_more: int) -> None:
        if self._num_line_bytes + num_more > MAX_HEAD_BYTES:
            raise RowError(Reason.BAD_RESPONSE if self.is_in_head else Reason.TOO_LARGE)

    def leave_head(self) -> None:
        """Begin the body, whose lines are counted anew."""
        self.is_in_head = False
        self._num_line_bytes = 0


def read_response(wire: Wire, sink: BinaryIO | None = None) -> Reading[HttpResponse]:
    """The final response; informational ones (1xx) before it are forgotten. Raises `RowError`.

    Only a success (2xx) has its body read: of any other answer, status and headers say all that is needed. With a
    `sink` the body is written there as it arrives, in place of what an earlier try left.
    """
    while True:
        status, version, headers = yield from _read_head(wire)
        if status >= 200:
            break
    wire.leave_head()
    response = HttpResponse(status, headers, b"")
    if status == 204 or not 200 <= status < 300:
        response.is_reusable = _is_kept(version, headers) and _has_no_body(status, headers, wire)
        return response
    if sink is None:
        response.body = yield from _read_body(wire, headers)
        response.num_body_bytes = len(response.body)
    else:
        sink.seek(0)
        sink.truncate()
        response.num_body_bytes = yield from _copy_body(wire, headers, sink)
    response.is_reusable = _is_kept(version, headers) and _has_plain_end(headers, wire)
    return response


def tokens(headers: Message, name: str) -> list[str]:
    """The parts between commas of all headers of a name, in order, in lower case; blank ones are left out."""
    parts = (part.strip().lower() for value in headers.get_all(name, []) for part in value.split(","))
    return [part for part in parts if part]


def _read_head(wire: Wire) -> Reading[tuple[int, bytes, Message]]:
    """Status, version and headers."""
    line = yield from wire.line()
    while not line:  # some servers send an empty line first
        line = yield from wire.line()
    match = _STATUS_LINE.match(line)
    if match is None:
        raise RowError(Reason.BAD_RESPONSE)
    headers = yield from _read_headers(wire)
    return int(match[2]), match[1], headers


def _read_headers(wire: Wire) -> Reading[Message]:
    """Headers up to the empty line. Lines that are no header are passed over, continued ones are joined."""
    headers = Message()
    name, value = b"", b""
    while True:
        line = yield from wire.line()
        if line and line[0] in b" \t":
            value += b" " + line.strip()
            continue
        if _NAME.fullmatch(name):
            headers[name.decode("ascii")] = _decoded(value)
        if not line:
            return headers
        name, colon, value = line.partition(b":")
        name, value = name.strip() if colon else b"", value.strip()


def _read_body(wire: Wire, headers: Message) -> Reading[bytes]:
    if "chunked" in tokens(headers, "Transfer-Encoding"):
        return (yield from _read_chunks(wire))
    length = _announced_bytes(headers)
    if length is None:
        return (yield from wire.rest())
    return (yield from wire.exactly(wire.allowed(length)))


def _copy_body(wire: Wire, headers: Message, sink: BinaryIO) -> Reading[int]:
    if "chunked" not in tokens(headers, "Transfer-Encoding"):
        length = _announced_bytes(headers)
        if length is not None and length > wire.cap.num_bytes:
            raise RowError(Reason.TOO_LARGE)
        return (yield from wire.copy(length, sink))
    num_bytes = 0
    while chunk_bytes := (yield from _chunk_size(wire, num_bytes)):
        num_bytes += yield from wire.copy(chunk_bytes, sink)
        yield from _end_of_chunk(wire)
    return num_bytes


def _read_chunks(wire: Wire) -> Reading[bytes]:
    """The content of a chunked body. What follows the last chunk is not waited for."""
    pieces: list[bytes] = []
    num_bytes = 0
    while chunk_bytes := (yield from _chunk_size(wire, num_bytes)):
        pieces.append((yield from wire.exactly(chunk_bytes)))
        num_bytes += chunk_bytes
        if wire.is_cut:
            break
        yield from _end_of_chunk(wire)
    return b"".join(pieces)


def _chunk_size(wire: Wire, num_before: int) -> Reading[int]:
    """The length of the next chunk, 0 at the end; `num_before` bytes came in the chunks before."""
    line = yield from wire.line()
    size = line.partition(b";")[0].strip()
    if not _CHUNK_SIZE.fullmatch(size) or len(size.lstrip(b"0")) > MAX_NUMBER_DIGITS:
        raise RowError(Reason.BAD_RESPONSE)
    return wire.allowed(num_before + int(size, 16)) - num_before


def _end_of_chunk(wire: Wire) -> Reading[None]:
    line = yield from wire.line()
    if line.strip():
        raise RowError(Reason.BAD_RESPONSE)


def _announced_bytes(headers: Message) -> int | None:
    """The one length that the headers give; None where none is a number, and the connection's end is the body's.

    Raises `RowError` (bad_response) where two lengths differ: urllib believes the first and curl the last.
    """
    lengths = {part.lstrip("0") or "0" for part in tokens(headers, "Content-Length") if _LENGTH.fullmatch(part)}
    if len(lengths) > 1:
        raise RowError(Reason.BAD_RESPONSE)
    return int(lengths.pop()[: MAX_NUMBER_DIGITS + 1]) if lengths else None


def _is_kept(version: bytes, headers: Message) -> bool:
    """Whether the server keeps the connection open, by its own words."""
    return version == b"1.1" and "close" not in tokens(headers, "Connection")


def _has_no_body(status: int, headers: Message, wire: Wire) -> bool:
    """Whether an answer whose body is not read has none, so that the next byte is the next answer's."""
    is_empty = status in (204, 304) or headers.get_all("Content-Length") == ["0"]
    return is_empty and "Transfer-Encoding" not in headers and not wire.waiting


def _has_plain_end(headers: Message, wire: Wire) -> bool:
    """Whether a body ended where every reader would say so; one that is open to doubt ends with its connection.

    A server or proxy that reads a doubtful message otherwise would put the answers of others in the place of ours.
    """
    codings, lengths = headers.get_all("Transfer-Encoding", []), headers.get_all("Content-Length", [])
    if wire.is_cut:
        return False
    if codings:
        return codings == ["chunked"] and not lengths and wire.waiting == b"\r\n"
    return len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) is not None and not wire.waiting


def _decoded(value: bytes) -> str:
    """A header's value: UTF-8 as most servers send it, else Latin-1 as the standard has it; without line ends."""
    value = value.replace(b"\r", b" ")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
