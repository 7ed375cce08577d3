"""Single requests of the event loop: a name resolved, a connection taken or made, a response read."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import closing
from functools import partial
from typing import Final, TypeAlias

from stages.download.engines.connection import Connection, LargePlaces, StaleConnectionError
from stages.download.engines.interface import USER_AGENT, FetchTask
from stages.download.http.content_codings import has_codings
from stages.download.http.fetch_steps import Ask
from stages.download.http.http_exchange import reason_of_socket_error, request_bytes, tls_context, uncoded
from stages.download.http.http_message import BodyCap, Deadline, HttpResponse
from stages.download.http.resolver import Lookup, LookupWait, Resolver, Targets
from stages.download.reasons import Reason, RowError
from stages.origins.routes import SocketAddress
from stages.origins.web_address import WebAddress

MAX_IDLE: Final = 64
"""Kept connections that wait for a request, at most."""

_Place: TypeAlias = tuple[str, str, int]
"""Scheme, host and port: a connection serves the host alone for which it was made and its certificate checked."""


class UnreachableError(RowError):
    """The name of a host was not answered, or its address took no connection: the fault may be the network's."""


class BrokenOffError(RowError):
    """An open connection broke, or brought no whole response in time: the fault may be the network's as well."""

    def __init__(self, reason: Reason, *, was_heard: bool) -> None:
        super().__init__(reason)
        self.was_heard = was_heard
        """Whether a byte of the response arrived."""


class Exchanges:
    """Makes the requests of a part."""

    def __init__(self, task: FetchTask) -> None:
        limits = task.limits
        self._new_resolver = partial(Resolver, task.routes, limits.allow_hosts)
        self._resolver = self._new_resolver()
        self._cap = BodyCap(limits.max_body_bytes)
        self._headers = [("User-Agent", USER_AGENT)]
        self._places = LargePlaces()
        self._idle: dict[_Place, list[Connection]] = {}
        self._num_idle = 0

    def close(self) -> None:
        """Close kept connections, and resolve no more names."""
        self._resolver.close()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def send(self, ask: Ask, *, is_kept: bool) -> HttpResponse:
        """The response to a request; `is_kept` keeps the connection for another one.

        Raises `RowError`, and of these `UnreachableError` where the host was not reached at all, and `BrokenOffError`
        where it was, but that does not say that it still is.
        """
        address, deadline, cap = ask.address, ask.deadline, ask.cap or self._cap
        place = (address.scheme, address.host, address.port)
        request = request_bytes(address, self._headers, is_kept=is_kept)
        while True:
            connection, is_new = None if ask.is_retry else self._take_idle(place), False
            if connection is None:
                connection, is_new = await self._connect(address, deadline, self._resolver), True
            try:
                response = await connection.ask(request, deadline, cap)
                break
            except StaleConnectionError:
                if is_new:
                    raise RowError(Reason.CUT_SHORT) from None
            except RowError as error:
                connection.close()
                if error.reason in (Reason.TIMEOUT, Reason.CONNECT_ERROR):
                    raise BrokenOffError(error.reason, was_heard=connection.was_heard) from error
                raise
            except BaseException:
                connection.close()
                raise
        if is_kept and response.is_reusable and connection.is_open and self._num_idle < MAX_IDLE:
            self._idle.setdefault(place, []).append(connection)
            self._num_idle += 1
        else:
            connection.close()
        if response.body and has_codings(response.headers):
            return await asyncio.to_thread(uncoded, response, cap)
        return response

    async def reaches(self, address: WebAddress, timeout_seconds: float) -> bool:
        """Whether the name of a host is answered at this moment, whatever is known of it, and takes a connection."""
        deadline = Deadline.after(timeout_seconds)
        with closing(self._new_resolver()) as resolver:
            try:
                (await self._connect(address, deadline, resolver)).close()
            except RowError as error:
                return not isinstance(error, UnreachableError)
        return True

    def _take_idle(self, place: _Place) -> Connection | None:
        connections = self._idle.get(place, [])
        while connections:
            connection = connections.pop()
            self._num_idle -= 1
            if connection.is_open:
                return connection
        return None

    async def _targets(self, address: WebAddress, deadline: Deadline, resolver: Resolver) -> Targets:
        try:
            return await self._looked_up(address, deadline, resolver)
        except RowError as error:
            if error.reason in (Reason.DNS_ERROR, Reason.TIMEOUT):
                raise UnreachableError(error.reason) from error
            raise

    async def _looked_up(self, address: WebAddress, deadline: Deadline, resolver: Resolver) -> Targets:
        found = resolver.lookup(address)
        if not isinstance(found, Lookup):
            return found
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        found.add_done_callback(lambda _: _call(loop, ended))
        wait = LookupWait(found, deadline)
        while not found.done():
            try:
                async with asyncio.timeout(wait.next_seconds()):
                    await ended.wait()
            except TimeoutError:
                continue
        return found.answer()

    async def _connect(self, address: WebAddress, deadline: Deadline, resolver: Resolver) -> Connection:
        """A connection to the first address of the host that takes one; each gets its share of the time."""
        targets = await self._targets(address, deadline, resolver)
        failure: OSError = ConnectionError(f"no address for {address.host}")
        for number, target in enumerate(targets):
            share = deadline.remaining_seconds() / (len(targets) - number)
            try:
                async with asyncio.timeout(share):
                    return await self._open(address, target)
            except OSError as error:  # `TimeoutError` is one
                failure = error
                if reason_of_socket_error(error) is Reason.TLS_ERROR:
                    break
        is_answer = isinstance(failure, ConnectionRefusedError | ConnectionResetError | ssl.SSLError)
        raise (RowError if is_answer else UnreachableError)(reason_of_socket_error(failure)) from failure

    async def _open(self, address: WebAddress, target: SocketAddress) -> Connection:
        loop = asyncio.get_running_loop()
        if address.scheme == "http":
            _, connection = await loop.create_connection(lambda: Connection(self._places), *target)
        else:
            _, connection = await loop.create_connection(
                lambda: Connection(self._places), *target, ssl=tls_context(), server_hostname=address.host
            )
        return connection


def _call(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event from another thread; a loop that has ended needs none."""
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:
        return
