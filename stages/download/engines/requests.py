"""The URLs of a part on their way: which request begins, what follows its response, and how each URL ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, cast

from stages.download.address import WebAddress
from stages.download.engines.exchanges import Exchanges
from stages.download.engines.interface import Deliver, FetchFailure, FetchTask
from stages.download.engines.schedule import Schedule
from stages.download.http.fetch_steps import (
    Ask,
    AskRobots,
    Pause,
    Step,
    StepAnswer,
    TryLimits,
    fetch_steps,
    robots_steps,
)
from stages.download.http.http_message import HttpResponse
from stages.download.manners.robots import Robots
from stages.download.manners.usage_terms import UsageTerms
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

    number: int | None
    """Index of the URL in the task; None where it is a robots.txt."""
    steps: Generator[Step, StepAnswer, HttpResponse | Robots]
    terms: UsageTerms
    queued_at: float = 0.0
    is_slow: bool = False
    """Whether its open request takes long."""
    origin: WebAddress | None = None
    """Where it lies, if it is a robots.txt."""


class OpenRequests:
    """Carries the steps of all URLs out. Lives in the thread of the loop."""

    def __init__(
        self,
        task: FetchTask,
        exchanges: Exchanges,
        ended: Deliver,
        has_room: Callable[[], bool],
    ) -> None:
        limits = task.limits
        self._loop = asyncio.get_running_loop()
        self._exchanges = exchanges
        self._ended = ended
        self._has_room = has_room
        self._schedule: Schedule[tuple[_Fetch, Ask]] = Schedule(
            max_per_host=limits.max_requests_per_host, seconds_between=limits.seconds_between_requests
        )
        self._robots: dict[WebAddress, Robots | list[_Fetch]] = {}
        """The robots.txt of each origin, or who waits for it."""
        self._try_limits = TryLimits(limits.num_tries, limits.deadline_seconds)
        self._open: set[asyncio.Task[None]] = set()
        self._num_slow = 0
        self._num_left = len(task.urls)
        self._all_ended = self._loop.create_future()
        self._wake: asyncio.TimerHandle | None = None
        for number, url in enumerate(task.urls):
            terms = UsageTerms()
            self._advance(_Fetch(number, fetch_steps(url, self._try_limits, limits.manners, terms), terms))

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

    def _advance(self, fetch: _Fetch, answer: StepAnswer | Exception = None) -> None:
        """Go to the next step of a URL, which may be its end."""
        try:
            step = fetch.steps.throw(answer) if isinstance(answer, Exception) else fetch.steps.send(answer)
        except StopIteration as end:
            self._end(fetch, end.value)
        except RowError as error:
            self._end(fetch, FetchFailure(error.reason))
        except Exception as error:  # one server that breaks the client must not fail the part
            self._end(fetch, FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}"))
        else:
            self._carry_on(fetch, step)

    def _carry_on(self, fetch: _Fetch, step: Step) -> None:
        match step:
            case Ask():
                fetch.queued_at = self._loop.time()
                self._schedule.add(step.address.host, (fetch, step))
            case AskRobots():
                self._await_robots(fetch, step.address)
            case Pause():
                if step.is_asked_for:
                    self._schedule.hold(step.host, self._loop.time() + step.seconds)
                self._loop.call_later(step.seconds, self._resume, fetch)

    def _await_robots(self, fetch: _Fetch, address: WebAddress) -> None:
        known = self._robots.get(address)
        if isinstance(known, Robots):
            self._loop.call_soon(self._resume, fetch, known)
        elif known is not None:
            known.append(fetch)
        else:
            self._robots[address] = [fetch]
            asking = _Fetch(None, robots_steps(address, self._try_limits), UsageTerms())
            asking.origin = address
            self._advance(asking)

    def _resume(self, fetch: _Fetch, answer: StepAnswer = None) -> None:
        self._advance(fetch, answer)
        self.begin()

    def _end(self, fetch: _Fetch, end: HttpResponse | Robots | FetchFailure) -> None:
        if fetch.origin is not None:
            robots = end if isinstance(end, Robots) else Robots(failure=Reason.UNEXPLAINED)
            waiting, self._robots[fetch.origin] = self._robots[fetch.origin], robots
            for one in waiting if isinstance(waiting, list) else ():
                self._loop.call_soon(self._resume, one, robots)
            return
        if fetch.number is None or isinstance(end, Robots):
            raise TypeError("a URL ended as a robots.txt does")
        self._ended(fetch.number, end.body if isinstance(end, HttpResponse) else end, fetch.terms)
        self._num_left -= 1
        if not self._num_left and not self._all_ended.done():
            self._all_ended.set_result(None)
