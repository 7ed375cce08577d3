"""The URLs of a part on their way: which request begins, what follows its response, and how each URL ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from stages.download.engines.exchanges import Exchanges
from stages.download.engines.interface import FetchFailure, FetchTask
from stages.download.engines.schedule import Schedule
from stages.download.http.fetch_steps import Ask, FetchSteps, Pause, fetch_steps
from stages.download.http.http_message import HttpResponse
from stages.download.reasons import Reason, RowError

NUM_AT_ONCE: Final = 64
"""Requests that are open at once, those that take long not counted."""
SLOW_SECONDS: Final = 2.0
"""Time after which an open request is one that takes long."""
MAX_OPEN: Final = 256
"""Requests that are open at once, of all kinds."""


@dataclass(slots=True, eq=False)
class _Fetch:
    """One URL on its way."""

    number: int
    steps: FetchSteps
    queued_at: float = 0.0
    is_slow: bool = False
    """Whether its open request takes long."""


class OpenRequests:
    """Carries the steps of all URLs out. Lives in the thread of the loop."""

    def __init__(
        self,
        task: FetchTask,
        exchanges: Exchanges,
        ended: Callable[[int, bytes | FetchFailure], None],
        has_room: Callable[[], bool],
    ) -> None:
        limits = task.limits
        self._loop = asyncio.get_running_loop()
        self._exchanges = exchanges
        self._ended = ended
        self._has_room = has_room
        self._schedule: Schedule[tuple[_Fetch, Ask]] = Schedule(max_per_host=limits.max_requests_per_host)
        self._open: set[asyncio.Task[None]] = set()
        self._num_slow = 0
        self._num_left = len(task.urls)
        self._all_ended = self._loop.create_future()
        self._wake: asyncio.TimerHandle | None = None
        for number, url in enumerate(task.urls):
            steps = fetch_steps(url, num_tries=limits.num_tries, deadline_seconds=limits.deadline_seconds)
            self._advance(_Fetch(number, steps))

    async def all_ended(self) -> None:
        """Wait until every URL has ended."""
        self.begin()
        if self._num_left:
            await self._all_ended

    def cancel(self) -> None:
        """End all requests."""
        for task in self._open:
            task.cancel()

    def begin(self) -> None:
        """Begin every request that may begin now."""
        now = self._loop.time()
        while len(self._open) < MAX_OPEN and len(self._open) - self._num_slow < NUM_AT_ONCE and self._has_room():
            taken = self._schedule.take(now)
            if taken is None:
                self._begin_later(now)
                return
            self._open.add(self._loop.create_task(self._carry_out(*taken)))

    def _begin_later(self, now: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        moment = self._schedule.next_moment()
        self._wake = None if moment is None else self._loop.call_later(max(moment - now, 0.001), self.begin)

    async def _carry_out(self, fetch: _Fetch, ask: Ask) -> None:
        """One request, from its turn to its response."""
        host = ask.address.host
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
        self._advance(fetch, result)
        self.begin()

    def _becomes_slow(self, fetch: _Fetch) -> None:
        fetch.is_slow = True
        self._num_slow += 1
        self.begin()

    def _advance(self, fetch: _Fetch, result: HttpResponse | Exception | None = None) -> None:
        """Go to the next step of a URL, which may be its end."""
        try:
            step = fetch.steps.throw(result) if isinstance(result, Exception) else fetch.steps.send(result)
        except StopIteration as end:
            self._end(fetch, end.value.body)
        except RowError as error:
            self._end(fetch, FetchFailure(error.reason))
        except Exception as error:  # one server that breaks the client must not fail the part
            self._end(fetch, FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}"))
        else:
            if isinstance(step, Pause):
                self._pause(fetch, step)
            else:
                fetch.queued_at = self._loop.time()
                self._schedule.add(step.address.host, (fetch, step))

    def _pause(self, fetch: _Fetch, pause: Pause) -> None:
        if pause.is_asked_for:
            self._schedule.hold(pause.host, self._loop.time() + pause.seconds)
        self._loop.call_later(pause.seconds, self._resume, fetch)

    def _resume(self, fetch: _Fetch) -> None:
        self._advance(fetch)
        self.begin()

    def _end(self, fetch: _Fetch, end: bytes | FetchFailure) -> None:
        self._ended(fetch.number, end)
        self._num_left -= 1
        if not self._num_left and not self._all_ended.done():
            self._all_ended.set_result(None)
