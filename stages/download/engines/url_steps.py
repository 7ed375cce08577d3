"""What each URL of a part needs next, and how it ends: its steps, the robots.txt that it waits for, a second look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, cast

from stages.download.engines.doubtful import Doubtful
from stages.download.engines.interface import Deliver, FetchFailure, FetchTask
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
from stages.origins.web_address import WebAddress

ROUND_SECONDS: Final = 5.0
"""Wait before URLs whose hosts could not be reached are asked again after an outage."""
NOT_REACHED: Final = frozenset({Reason.DNS_ERROR, Reason.CONNECT_ERROR, Reason.TIMEOUT})
"""Failures of a robots.txt that may be the network's."""


@dataclass(slots=True, eq=False)
class Fetch:
    """One URL on its way, or one robots.txt."""

    number: int | None
    """Index of the URL in the task; None where it is a robots.txt."""
    steps: Generator[Step, StepAnswer, HttpResponse | Robots]
    terms: UsageTerms
    queued_at: float = 0.0
    """When its request was queued, in seconds of the loop's clock."""
    is_slow: bool = False
    """Whether its open request takes long."""
    is_doubtful: bool = False
    """Whether the last host that it needed could not be reached, or was not heard of any more."""
    origin: WebAddress | None = None
    """Where it lies, if it is a robots.txt."""


@dataclass(frozen=True, kw_only=True)
class StepActions:
    """What the steps of URLs ask of those who make the requests."""

    queue: Callable[[Fetch, Ask], None]
    """Queue a request; its answer goes to `UrlSteps.answer`."""
    hold: Callable[[str, float], None]
    """Ask nothing of a host for so many seconds."""
    deliver: Deliver
    """Deliver a URL that has ended."""
    num_outages: Callable[[], int | None]
    """How often the network was down; None where nobody watches it."""


class UrlSteps:
    """The URLs of a part. Lives in the thread of the loop."""

    def __init__(self, task: FetchTask, actions: StepActions) -> None:
        limits = task.limits
        self._loop = asyncio.get_running_loop()
        self._urls = task.urls
        self._manners = limits.manners
        self._limits = TryLimits(limits.num_tries, limits.deadline_seconds)
        self._actions = actions
        self._robots: dict[WebAddress, Robots | list[Fetch]] = {}
        """The robots.txt of each origin, or those who wait for it."""
        self._doubtful: Doubtful[tuple[Fetch, FetchFailure]] = Doubtful()
        self._num_left = len(task.urls)
        self.all_ended = self._loop.create_future()
        """Done when every URL was delivered, or with the error that ends the part."""

    def start(self) -> None:
        """Begin every URL."""
        for number in range(len(self._urls)):
            self._start(number)
        if not self._urls:
            self.all_ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the part by an error."""
        if not self.all_ended.done():
            self.all_ended.set_exception(error)

    def answer(self, fetch: Fetch, answer: StepAnswer | Exception = None) -> None:
        """Go to the next step of a URL, which may be its end."""
        if isinstance(answer, Robots):
            fetch.is_doubtful = answer.failure in NOT_REACHED
        try:
            step = fetch.steps.throw(answer) if isinstance(answer, Exception) else fetch.steps.send(answer)
        except StopIteration as end:
            self._end(fetch, end.value)
        except RowError as error:
            self._end(fetch, FetchFailure(error.reason))
        except Exception as error:  # one server that breaks the client must not fail the part
            self._end(fetch, FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}"))
        else:
            self._carry_out(fetch, step)

    def _start(self, number: int) -> None:
        terms = UsageTerms()
        self.answer(Fetch(number, fetch_steps(self._urls[number], self._limits, self._manners, terms), terms))

    def _carry_out(self, fetch: Fetch, step: Step) -> None:
        match step:
            case Ask():
                self._actions.queue(fetch, step)
            case AskRobots():
                self._await_robots(fetch, step.address)
            case Pause():
                if step.is_asked_for:
                    self._actions.hold(step.host, step.seconds)
                self._loop.call_later(step.seconds, self.answer, fetch)

    def _await_robots(self, fetch: Fetch, address: WebAddress) -> None:
        known = self._robots.get(address)
        if isinstance(known, Robots):
            self._loop.call_soon(self.answer, fetch, known)
        elif known is not None:
            known.append(fetch)
        else:
            self._robots[address] = [fetch]
            self.answer(Fetch(None, robots_steps(address, self._limits), UsageTerms(), origin=address))

    def _end(self, fetch: Fetch, end: HttpResponse | Robots | FetchFailure) -> None:
        if fetch.origin is not None:
            robots = end if isinstance(end, Robots) else Robots(failure=Reason.UNEXPLAINED)
            waiting, self._robots[fetch.origin] = self._robots[fetch.origin], robots
            for one in waiting if isinstance(waiting, list) else ():
                self._loop.call_soon(self.answer, one, robots)
            return
        if isinstance(end, FetchFailure) and fetch.is_doubtful and self._actions.num_outages() is not None:
            self._doubtful.add((fetch, end))
        else:
            self._deliver(fetch, end)
        if self._num_left == len(self._doubtful) and self._num_left:
            self._look_again()

    def _deliver(self, fetch: Fetch, end: HttpResponse | Robots | FetchFailure) -> None:
        body = end.body if isinstance(end, HttpResponse) else cast("FetchFailure", end)
        self._actions.deliver(cast("int", fetch.number), body, fetch.terms)
        self._num_left -= 1
        if not self._num_left and not self.all_ended.done():
            self.all_ended.set_result(None)

    def _look_again(self) -> None:
        """Nothing but doubtful URLs is left: after an outage they are asked again, else they end as they are."""
        waiting, again = self._doubtful.next_round(self._actions.num_outages() or 0)
        for origin in [origin for origin, known in self._robots.items() if _is_unreached(known)]:
            del self._robots[origin]
        for fetch, end in waiting:
            if again:
                self._loop.call_later(ROUND_SECONDS, self._start, cast("int", fetch.number))
            else:
                self._deliver(fetch, end)


def _is_unreached(known: object) -> bool:
    return isinstance(known, Robots) and known.failure in NOT_REACHED
