"""One connection of the event loop: sends a request, and feeds what arrives to the reader of responses.

A body that grows large needs one of a few places to be read further, so that the memory of a part is bounded by
`MAX_LARGE` bodies of the largest size and `LARGE_BYTES` for each other connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

from stages.download.http.http_exchange import reason_of_socket_error
from stages.download.http.http_message import BodyCap, Deadline, HttpResponse, Reading, Wire, read_response
from stages.download.reasons import Reason, RowError

LARGE_BYTES: Final = 512 * 1024
"""Bytes of one response that may arrive without a place among the large ones."""
MAX_LARGE: Final = 8
"""Large responses that are read at once; further ones wait, which does not count against their deadline."""


class StaleConnectionError(Exception):
    """A kept connection was closed by the server before a byte of the response, or brought bytes that begin none.

    The latter are a late part of the answer before, which must not cost the next URL: ask again on a new connection.
    """


class LargePlaces:
    """The places for large responses, given in the order in which they are asked for."""

    def __init__(self, num_places: int = MAX_LARGE) -> None:
        self._num_free = num_places
        self._waiting: deque[Connection] = deque()

    def ask(self, connection: Connection) -> None:
        """Give a place to a connection now, or stop its reading until there is one."""
        if self._num_free:
            self._num_free -= 1
            connection.take_place()
        else:
            self._waiting.append(connection)
            connection.stop_reading()

    def give_back(self) -> None:
        """A large response has ended."""
        while self._waiting:
            connection = self._waiting.popleft()
            if connection.is_reading:
                connection.take_place()
                return
        self._num_free += 1


class Connection(asyncio.Protocol):
    """A connection to a checked address; one request at a time."""

    def __init__(self, places: LargePlaces) -> None:
        self._loop = asyncio.get_running_loop()
        self._places = places
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpResponse] | None = None
        self._reading: Reading[HttpResponse] | None = None
        self._deadline = Deadline(0.0)
        self._timer: asyncio.TimerHandle | None = None
        self._num_bytes = 0
        self._has_place = False
        self._stopped_at: float | None = None
        self._is_used = False

    @property
    def is_reading(self) -> bool:
        """Whether a response is awaited."""
        return self._reading is not None

    @property
    def was_heard(self) -> bool:
        """Whether a byte of the last response arrived."""
        return self._num_bytes > 0

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, deadline: Deadline, cap: BodyCap) -> asyncio.Future[HttpResponse]:
        """Send a request; its response, or `RowError` or `StaleConnectionError`, by the deadline."""
        if self._transport is None:
            raise RowError(Reason.CONNECT_ERROR)
        self._num_bytes = 0  # of this request, also where it is too late to send it
        left = deadline.remaining_seconds()
        self._answer = self._loop.create_future()
        self._reading = read_response(Wire(cap))
        next(self._reading)
        self._deadline = deadline
        self._timer = self._loop.call_later(left, self._look_at_deadline)
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Leave the connection at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def stop_reading(self) -> None:
        """Let the server wait, by way of TCP; a `LargePlaces` calls it."""
        self._stopped_at = self._loop.time()
        cast("asyncio.Transport", self._transport).pause_reading()

    def take_place(self) -> None:
        """Read on as a large response, with the time that was waited."""
        self._has_place = True
        if self._stopped_at is not None:
            self._deadline.extend(self._loop.time() - self._stopped_at)
            self._stopped_at = None
            cast("asyncio.Transport", self._transport).resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._reading is None:  # bytes that nobody asked for: the connection is good for nothing any more
            self.close()
            return
        if self._is_used and not self._num_bytes and not _begins_response(data):
            self._fail(StaleConnectionError())
            return
        self._num_bytes += len(data)
        self._feed(data)
        if self.is_reading and self._num_bytes > LARGE_BYTES and not self._has_place and self._stopped_at is None:
            self._places.ask(self)

    def eof_received(self) -> bool:
        """Called by the loop where the server sends no more."""
        if self._reading is not None:
            self._end_of_bytes()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop once the connection is closed."""
        self._transport = None
        if self._reading is None:
            return
        if isinstance(exc, OSError) and not (self._is_used and not self._num_bytes):
            self._fail(RowError(reason_of_socket_error(exc)))
        else:
            self._end_of_bytes()

    def _end_of_bytes(self) -> None:
        if self._is_used and not self._num_bytes:
            self._fail(StaleConnectionError())
        else:
            self._feed(b"")

    def _feed(self, data: bytes) -> None:
        try:
            cast("Reading[HttpResponse]", self._reading).send(data)
        except StopIteration as end:
            answer = self._ended()
            if not answer.done():
                answer.set_result(end.value)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        answer = self._ended()
        self.close()
        if not answer.done():
            answer.set_exception(error)

    def _ended(self) -> asyncio.Future[HttpResponse]:
        self._reading = None
        self._is_used = True
        if self._stopped_at is not None:  # TLS gives bytes that it holds after a stop; still in line for a place
            self._stopped_at = None
            self.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._has_place:
            self._has_place = False
            self._places.give_back()
        return cast("asyncio.Future[HttpResponse]", self._answer)

    def _look_at_deadline(self) -> None:
        if self._reading is None:
            return
        if self._stopped_at is not None:  # time in our queue: looked at again once it is over
            self._timer = self._loop.call_later(0.1, self._look_at_deadline)
            return
        try:
            left = self._deadline.remaining_seconds()
        except RowError as error:
            self._fail(error)
        else:
            self._timer = self._loop.call_later(left, self._look_at_deadline)


def _begins_response(data: bytes) -> bool:
    """Whether the first bytes that arrive may be those of a response; some servers send an empty line first."""
    return b"HTTP/".startswith(data.lstrip(b"\r\n")[:5].upper())
