"""GETs URLs by blocking sockets, one thread for each request. Many threads share one client."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Generator, Iterable
from concurrent.futures import Future
from typing import BinaryIO, TypeVar

from stages.download.http.fetch_steps import AskRobots, Pause, Step, StepAnswer, TryLimits, fetch_steps, robots_steps
from stages.download.http.http_exchange import get_once
from stages.download.http.http_message import BodyCap, HttpResponse
from stages.download.http.resolver import Resolver
from stages.download.manners.robots import Robots
from stages.download.manners.usage_terms import Manners, UsageTerms
from stages.download.reasons import RowError
from stages.origins.routes import Routes
from stages.origins.web_address import WebAddress

Headers = Iterable[tuple[str, str]]
"""Names and values of request headers."""
_T = TypeVar("_T")


class HttpClient:
    """Gets URLs for the threads of one part. Close it to let go of its resolver's threads."""

    def __init__(
        self,
        routes: Routes,
        *,
        num_tries: int,
        max_body_bytes: int,
        allow_hosts: Collection[str] = (),
        manners: Manners | None = None,
    ) -> None:
        self._resolver = Resolver(routes, allow_hosts)
        self._num_tries = num_tries
        self._cap = BodyCap(max_body_bytes)
        self._manners = manners or Manners()
        self._robots: dict[WebAddress, Future[Robots]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop resolving names."""
        self._resolver.close()

    def get(
        self,
        url: str,
        headers: Headers,
        timeout_seconds: float,
        sink: BinaryIO | None = None,
        terms: UsageTerms | None = None,
    ) -> HttpResponse:
        """The successful response (2xx) at the end of the redirects. Raises `RowError`.

        Each try may take `timeout_seconds`, its redirects included. With a `sink` the body is written there. What the
        server says about its use goes into `terms`.
        """
        limits = TryLimits(self._num_tries, timeout_seconds)
        steps = fetch_steps(url, limits, self._manners, terms or UsageTerms())
        return self._carry_out(steps, list(headers), limits, sink)

    def _carry_out(
        self,
        steps: Generator[Step, StepAnswer, _T],
        headers: list[tuple[str, str]],
        limits: TryLimits,
        sink: BinaryIO | None,
    ) -> _T:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._answer(step, headers, limits, sink)
                except RowError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            final: _T = end.value
            return final

    def _answer(
        self, step: Step, headers: list[tuple[str, str]], limits: TryLimits, sink: BinaryIO | None
    ) -> StepAnswer:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, AskRobots):
            return self._robots_at(step.address, headers, limits)
        targets = self._resolver.resolve(step.address, step.deadline)
        return get_once(step.address, targets, headers, step.deadline, step.cap or self._cap, sink=sink)

    def _robots_at(self, address: WebAddress, headers: list[tuple[str, str]], limits: TryLimits) -> Robots:
        """The robots.txt of an origin, which the first thread asks for while the others wait."""
        with self._lock:
            known = self._robots.get(address)
            if known is None:
                mine = self._robots[address] = Future()
        if known is not None:
            return known.result()
        try:
            mine.set_result(self._carry_out(robots_steps(address, limits), headers, limits, None))
        except BaseException as error:
            mine.set_exception(error)
        return mine.result()
