"""Resolves host names to checked addresses, each once for a part.

All addresses of a name must be on the public internet, and the connection goes to an address that was checked, so a
name cannot resolve to another one in between (DNS rebinding). There are two exceptions: `routes`, hosts that a source
maps to a server of its own on this machine, and `allow_hosts`, hosts that a recipe lists because they are meant to be
on a private network.

`getaddrinfo` cannot be interrupted, and holds its thread for 20 to 40 s where a name's servers are silent. So a lookup
has a thread of its own, up to `MAX_THREADS`; who waits for it may leave, and it stays for the next one who asks. The
time in which a lookup had no thread yet is nobody's fault: it is added to the deadline of who waits.
"""

from __future__ import annotations

import concurrent.futures
import socket
import threading
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future
from typing import Final, TypeAlias

from stages.download.http.http_message import Deadline
from stages.download.http.special_networks import is_public, is_refused
from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes, SocketAddress, is_listed
from stages.origins.web_address import WebAddress

MAX_THREADS: Final = 256
"""Names of one part that are resolved at once. A thread that waits for an answer costs some 30 kB."""
MAX_QUEUED_SECONDS: Final = 60.0
"""Longest wait for a thread; only a resolver that answers nothing at all lets anyone wait so long."""
FORGET_SECONDS: Final = 0.2
"""Time for which a failure of the resolver is believed, less than the wait before a retry. That a name does not exist
is believed for the whole part."""
LOOK_SECONDS: Final = 0.25
"""Time between two looks at whether a lookup has begun."""

Targets: TypeAlias = tuple[SocketAddress, ...]
"""Checked (IP address, port) pairs to connect to, in order of preference."""


class Lookup(Future[Targets]):
    """One name on its way to its addresses. Its exception is a `RowError`."""

    def __init__(self, host: str, port: int, *, may_be_private: bool) -> None:
        super().__init__()
        self.name = (host, port)
        self.may_be_private = may_be_private
        self.begun_at: float | None = None
        """When a thread began to resolve it; None while it waits for one."""
        self.ended_at: float | None = None

    def answer(self) -> Targets:
        """What it found, once it is done. Raises `RowError`, a new one for everyone who asks."""
        error = self.exception()
        if isinstance(error, RowError):
            raise RowError(error.reason) from error
        return self.result()


class LookupWait:
    """How long one try waits for a lookup: its time in the queue is added to the deadline of the try."""

    def __init__(self, lookup: Lookup, deadline: Deadline) -> None:
        self._lookup = lookup
        self._deadline = deadline
        self._since = self._counted_until = time.monotonic()

    def next_seconds(self) -> float:
        """How long to wait before asking here again. Raises `RowError` (timeout; dns_error if no thread is free)."""
        now = time.monotonic()
        queued_until = self._lookup.begun_at or now
        if queued_until > self._counted_until:
            self._deadline.extend(queued_until - self._counted_until)
            self._counted_until = queued_until
        if self._lookup.begun_at is not None:
            return self._deadline.remaining_seconds()
        if now - self._since > MAX_QUEUED_SECONDS:
            raise RowError(Reason.DNS_ERROR)
        return LOOK_SECONDS


class Resolver:
    """Resolves the names of one part. Safe to use from many threads. Close it at the end."""

    def __init__(self, routes: Routes, allow_hosts: Collection[str] = ()) -> None:
        self._routes = routes
        self._allow_hosts = allow_hosts
        self._lookups: dict[tuple[str, int], Lookup] = {}
        self._threads = _LookupThreads()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Begin no more lookups. Those under way end by themselves, and hold up neither a part nor the process."""
        self._threads.close()

    def lookup(self, address: WebAddress) -> Lookup | Targets:
        """The addresses where they are known, else the lookup that finds them out. Raises `RowError`."""
        if address.host in self._routes and address.scheme == "http":
            return (self._routes[address.host],)
        name = (address.host, address.port)
        with self._lock:
            lookup = self._lookups.get(name)
            if lookup is None or _is_forgotten(lookup):
                lookup = Lookup(*name, may_be_private=is_listed(address.host, self._allow_hosts))
                self._lookups[name] = lookup
                self._threads.begin(lookup)
        return lookup.answer() if lookup.done() else lookup

    def resolve(self, address: WebAddress, deadline: Deadline) -> Targets:
        """The addresses, waited for until the deadline. Raises `RowError`."""
        found = self.lookup(address)
        if not isinstance(found, Lookup):
            return found
        wait = LookupWait(found, deadline)
        while not found.done():
            concurrent.futures.wait([found], wait.next_seconds())
        return found.answer()


class _LookupThreads:
    """As many threads as there are lookups at once, up to `MAX_THREADS`; idle ones are used again."""

    def __init__(self) -> None:
        self._waiting: deque[Lookup] = deque()
        self._changed = threading.Condition()
        self._num_threads = 0
        self._num_idle = 0
        self._is_closed = False

    def begin(self, lookup: Lookup) -> None:
        """Resolve it as soon as there is a thread."""
        with self._changed:
            self._waiting.append(lookup)
            if self._num_idle >= len(self._waiting) or self._num_threads >= MAX_THREADS:
                self._changed.notify()
                return
            self._num_threads += 1
        threading.Thread(target=self._work, name="resolve", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._num_idle += 1
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                self._num_idle -= 1
                if self._is_closed:
                    return
                lookup = self._waiting.popleft()
            _carry_out(lookup)


def _carry_out(lookup: Lookup) -> None:
    lookup.begun_at = time.monotonic()
    try:
        found = _checked_addresses(*lookup.name, may_be_private=lookup.may_be_private)
    except BaseException as error:
        lookup.ended_at = time.monotonic()
        lookup.set_exception(error)
    else:
        lookup.ended_at = time.monotonic()
        lookup.set_result(found)


def _is_forgotten(lookup: Lookup) -> bool:
    if lookup.ended_at is None or time.monotonic() - lookup.ended_at < FORGET_SECONDS:
        return False
    error = lookup.exception()
    return isinstance(error, RowError) and error.reason is Reason.DNS_ERROR


def _checked_addresses(host: str, port: int, *, may_be_private: bool) -> Targets:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        raise RowError(Reason.HOST_UNKNOWN if unknown else Reason.DNS_ERROR) from error
    except UnicodeError as error:  # labels that are too long
        raise RowError(Reason.URL_MALFORMED) from error
    targets = tuple((str(info[4][0]), port) for info in infos)
    if not all(not is_refused(ip) if may_be_private else is_public(ip) for ip, _ in targets):
        raise RowError(Reason.URL_FORBIDDEN_ADDRESS)
    return targets
