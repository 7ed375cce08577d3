"""The open requests of a part: which one begins, how many at once, and what an outage of the network does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from stages.contract import NetworkDownError
from stages.download.engines.exchanges import BrokenOffError, Exchanges, UnreachableError
from stages.download.engines.interface import Deliver, FetchTask
from stages.download.engines.schedule import Schedule
from stages.download.engines.url_steps import Fetch, StepActions, UrlSteps
from stages.download.http.fetch_steps import Ask
from stages.download.http.http_message import HttpResponse
from stages.download.manners.network_watch import MAX_PROBE_SECONDS, NetworkWatch
from stages.origins.web_address import WebAddress

NUM_AT_ONCE: Final = 64
"""Requests that are open at once, those that take long not counted."""
SLOW_SECONDS: Final = 2.0
"""Time after which an open request is one that takes long."""
MAX_OPEN: Final = 256
"""Requests that are open at once, of all kinds."""


class OpenRequests:
    """Makes the requests that the URLs of a part need. Lives in the thread of the loop."""

    def __init__(self, task: FetchTask, exchanges: Exchanges, deliver: Deliver, has_room: Callable[[], bool]) -> None:
        limits = task.limits
        self._loop = asyncio.get_running_loop()
        self._exchanges = exchanges
        self._has_room = has_room
        self._deadline_seconds = limits.deadline_seconds
        self._schedule: Schedule[tuple[Fetch, Ask]] = Schedule(
            max_per_host=limits.max_requests_per_host, seconds_between=limits.seconds_between_requests
        )
        self._watch = NetworkWatch(limits.max_outage_seconds)
        self._good: WebAddress | None = None
        """An address whose host answered."""
        self._open: set[asyncio.Task[None]] = set()
        self._num_slow = 0
        self._beginning: asyncio.Handle | None = None
        self._waking: asyncio.TimerHandle | None = None
        actions = StepActions(queue=self._queue, hold=self._hold, deliver=deliver, num_outages=self._num_outages)
        self._urls = UrlSteps(task, actions)

    async def all_ended(self) -> None:
        """Begin, and wait until every URL has ended. Raises `NetworkDownError`."""
        self._urls.start()
        await self._urls.all_ended

    def cancel(self) -> None:
        """End all requests."""
        for task in self._open:
            task.cancel()

    def begin(self) -> None:
        """Begin every request that may begin now."""
        self._beginning = None
        now = self._loop.time()
        while len(self._open) < MAX_OPEN and len(self._open) - self._num_slow < NUM_AT_ONCE and self._has_room():
            if self._watch.is_down and (wait_seconds := self._until_probe(now)):
                self._wake_in(wait_seconds)
                return
            if self._watch.is_down and self._good is not None:
                self._open.add(self._loop.create_task(self._try_again(self._good)))
                self._wake_in(self._until_probe(now))
                return
            taken = self._schedule.take(now)
            if taken is None:
                moment = self._schedule.next_moment()
                if moment is not None:
                    self._wake_in(moment - now)
                return
            self._open.add(self._loop.create_task(self._carry_out(*taken)))

    async def _try_again(self, good: WebAddress) -> None:
        """Reach for a host that answered before: where it still does, the network works."""
        if await self._exchanges.reaches(good, self._deadline_seconds):
            self._watch.refute(good.host)
        self._open.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._begin_soon()

    def _until_probe(self, now: float) -> float:
        """How long an outage keeps everything waiting; one that is too long ends the part."""
        try:
            return self._watch.probe_in_seconds(now)
        except NetworkDownError as error:
            self._urls.fail(error)
            return MAX_PROBE_SECONDS

    def _wake_in(self, seconds: float) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._waking = self._loop.call_later(max(seconds, 0.001), self.begin)

    async def _carry_out(self, fetch: Fetch, ask: Ask) -> None:
        """One request, from its turn to its response."""
        host = ask.address.host
        began_down = self._watch.is_down
        ask.deadline.extend(self._loop.time() - fetch.queued_at)
        slow = self._loop.call_later(SLOW_SECONDS, self._becomes_slow, fetch)
        result: HttpResponse | Exception
        try:
            result = await self._exchanges.send(ask, is_kept=self._schedule.has_waiting(host))
        except Exception as error:
            result = error
        slow.cancel()
        self._num_slow -= fetch.is_slow
        fetch.is_slow = False
        self._open.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._schedule.close(host)
        fetch.is_doubtful = not self._is_answer(ask.address, result, began_down=began_down)
        if fetch.is_doubtful and self._watch.is_down:
            ask.deadline.restart(self._deadline_seconds)
            self._queue(fetch, ask)  # it was the network: the same request again, and no try is counted
        else:
            self._urls.answer(fetch, result)
        self._begin_soon()

    def _is_answer(self, address: WebAddress, result: HttpResponse | Exception, *, began_down: bool) -> bool:
        """Tell the watch how a request ended, and whether its host answered.

        What broke off without a byte says nothing of the network; nor does what had begun to arrive before an outage.
        """
        if isinstance(result, UnreachableError):
            self._watch.silent(address.host, self._loop.time())
            return False
        if isinstance(result, BrokenOffError) and (not result.was_heard or (self._watch.is_down and not began_down)):
            return False
        self._watch.answered(address.host)
        if isinstance(result, HttpResponse):
            self._good = address
        return True

    def _becomes_slow(self, fetch: Fetch) -> None:
        fetch.is_slow = True
        self._num_slow += 1
        self._begin_soon()

    def _queue(self, fetch: Fetch, ask: Ask) -> None:
        fetch.queued_at = self._loop.time()
        self._schedule.add(ask.address.host, (fetch, ask))
        self._begin_soon()

    def _hold(self, host: str, seconds: float) -> None:
        self._schedule.hold(host, self._loop.time() + seconds)

    def _num_outages(self) -> int | None:
        return self._watch.num_outages if self._watch.is_on else None

    def _begin_soon(self) -> None:
        """Begin what may begin, once for all that happens in one turn of the loop."""
        if self._beginning is None:
            self._beginning = self._loop.call_soon(self.begin)
