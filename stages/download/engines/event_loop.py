"""Fetch with an event loop: many requests at once in one thread, and pictures judged in another.

The thread that calls `fetch` takes the bodies and delivers them; a thread of its own runs the loop. So a picture that
takes long to decode delays no socket, and `deliver` is called as the interface says. Bodies that wait to be delivered
are bounded in bytes: beyond that no request begins, and a slow disk slows the web down.

Connections are kept where more URLs of their host wait. A request that takes long, such as an endless drip, gives its
place to another one and ends at its deadline.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from stages.download.engines.exchanges import Exchanges
from stages.download.engines.interface import Deliver, FetchFailure, FetchTask
from stages.download.engines.requests import OpenRequests
from stages.download.manners.usage_terms import UsageTerms

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies that wait to be judged before no further request is begun."""

_Item: TypeAlias = tuple[int, bytes | FetchFailure, UsageTerms] | BaseException | None
"""A URL that has ended, an error of the engine itself, or None behind the last one."""


def fetch(task: FetchTask, deliver: Deliver) -> None:
    """Deliver the response body or the failure of every URL; a `FetchEngine`."""
    handover = _Handover()
    loop = threading.Thread(target=_run, args=(task, handover), name="fetch", daemon=True)
    loop.start()
    try:
        while (item := handover.take()) is not None:
            if isinstance(item, BaseException):
                raise item
            deliver(*item)
    finally:
        handover.stop()
        loop.join()


class _Handover:
    """Passes what has ended from the thread of the loop to the one that delivers."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_bytes = 0
        self._is_full = False
        self._stop: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None
        self._is_stopped = False

    def connect(self, *, stop: Callable[[], None], resume: Callable[[], None]) -> None:
        """Called by the loop, with two functions that may be called from another thread."""
        with self._lock:
            self._stop, self._resume = stop, resume
            if self._is_stopped:
                stop()

    def put(self, number: int, body: bytes | FetchFailure, terms: UsageTerms) -> None:
        """Called by the loop for each URL that has ended."""
        if isinstance(body, bytes):
            with self._lock:
                self._num_bytes += len(body)
        self._items.put((number, body, terms))

    def has_room(self) -> bool:
        """Called by the loop before a request. If there is none, `resume` is called once there is."""
        with self._lock:
            self._is_full = self._num_bytes > MAX_WAITING_BYTES
            return not self._is_full

    def end(self, error: BaseException | None) -> None:
        """Called by the thread of the loop when it ends."""
        with self._lock:
            self._stop = self._resume = None
        self._items.put(error)

    def take(self) -> _Item:
        """The next item, waited for."""
        item = self._items.get()
        if isinstance(item, tuple) and isinstance(item[1], bytes):
            with self._lock:
                self._num_bytes -= len(item[1])
                if self._is_full and self._num_bytes <= MAX_WAITING_BYTES // 2:
                    self._is_full = False
                    if self._resume is not None:
                        self._resume()
        return item

    def stop(self) -> None:
        """End the loop, whatever is under way."""
        with self._lock:
            self._is_stopped = True
            if self._stop is not None:
                self._stop()


def _run(task: FetchTask, handover: _Handover) -> None:
    error: BaseException | None = None
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_fetch_all(task, handover))
    except BaseException as caught:
        error = caught
    handover.end(None if isinstance(error, asyncio.CancelledError) else error)


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _fetch_all(task: FetchTask, handover: _Handover) -> None:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    exchanges = Exchanges(task)
    requests = OpenRequests(task, exchanges, handover.put, handover.has_room)

    def call(function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(function)

    if main is not None:
        handover.connect(stop=lambda: call(main.cancel), resume=lambda: call(requests.begin))
    try:
        await requests.all_ended()
    finally:
        requests.cancel()
        exchanges.close()
