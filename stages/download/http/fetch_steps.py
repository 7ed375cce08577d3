"""What it takes to get a URL, step by step: redirects followed hop by hop, a deadline for each try, retries.

Every hop is checked like the first URL. Nothing is done here: each step says what is wanted, and the driver of the
steps does it, with threads or in an event loop. So all engines follow the same redirects and make the same tries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from stages.download.address import follow_address, parse_address
from stages.download.http.http_message import BodyCap, Deadline, HttpResponse
from stages.download.manners.robots import MAX_ROBOTS_BYTES, Robots, robots_address, robots_of
from stages.download.manners.usage_terms import Manners, UsageTerms, evidence, refusal
from stages.download.reasons import Reason, RowError
from stages.origins.web_address import WebAddress

MAX_REDIRECTS: Final = 10
"""Redirects that are followed, as many as urllib follows."""
MAX_VISITS: Final = 4
"""Times that one URL is asked for in a try: some servers send a client back to where it comes from once."""
FIRST_WAIT_SECONDS: Final = 0.25
"""Wait before the second try; doubles before each further one (0.25 s, 0.5 s, 1 s, ...)."""
MAX_WAIT_SECONDS: Final = 10.0
"""Longest wait before a retry, even where `Retry-After` asks for more."""
JITTER: Final = 0.25
"""Share by which a wait is lengthened at random, so that those who failed together do not come back together."""
ROBOTS_CAP: Final = BodyCap(MAX_ROBOTS_BYTES + 1, takes_beginning=True)
"""Cap of a robots.txt, whatever that of pictures is. One byte more than is read says that there are more."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class RobotsError(RowError):
    """Ends a row by its robots.txt, which is asked for once for a part: another try would read the same."""


@dataclass(frozen=True, slots=True)
class TryLimits:
    """How often and for how long a URL is asked for."""

    num_tries: int
    deadline_seconds: float
    """Time for one try, redirects included."""
    cap: BodyCap | None = None
    """How much of a body may come; None leaves it to those who send the requests."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send one request, and answer with its response; or throw the `RowError` with which it failed."""

    address: WebAddress
    deadline: Deadline
    """Shared by all requests of one try; a queue in which the request stands extends it."""
    cap: BodyCap | None = None
    """How much of the body may come, where it is not what holds for pictures and files."""
    is_retry: bool = False
    """Whether an earlier try failed: on a kept connection, it may have been the connection that was dead."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float
    host: str
    """The host that failed."""
    is_asked_for: bool
    """Whether the server itself asked for the wait (`Retry-After`), so that its other URLs had better wait, too."""


@dataclass(frozen=True, slots=True)
class AskRobots:
    """Answer with the robots.txt of an origin, asked for once for a part by way of `robots_steps`."""

    address: WebAddress
    """Where it lies."""


Step: TypeAlias = Ask | AskRobots | Pause
StepAnswer: TypeAlias = HttpResponse | Robots | None
FetchSteps: TypeAlias = Generator[Step, StepAnswer, HttpResponse]
"""Steps in progress; a successful response (2xx) is their return value, and they raise `RowError`."""


def fetch_steps(url: str, limits: TryLimits, manners: Manners, terms: UsageTerms) -> FetchSteps:
    """The steps to the response behind the redirects. What is said about its use meanwhile goes into `terms`."""
    number = 1
    while True:
        address = parse_address(url)
        try:
            return (yield from _follow(address, limits, manners, terms, is_retry=number > 1))
        except RobotsError:
            raise
        except RowError as error:
            if not error.reason.retriable or number >= limits.num_tries:
                raise
            pause = Pause(wait_seconds(error, number), address.host, error.retry_after_seconds > 0)
        yield pause
        number += 1


def robots_steps(address: WebAddress, limits: TryLimits) -> Generator[Step, StepAnswer, Robots]:
    """The steps to the robots.txt at `address`. Raises nothing: why there is none is part of the answer."""
    try:
        response = yield from fetch_steps(
            address.url, replace(limits, cap=ROBOTS_CAP), Manners(opt_outs=()), UsageTerms()
        )
    except RowError as error:
        return Robots(failure=error.reason)
    return robots_of(response.body)


def wait_seconds(error: RowError, number: int) -> float:
    """Wait between try `number`, counted from 1, and the next one; with jitter, up to a quarter longer."""
    backoff = max(error.retry_after_seconds, FIRST_WAIT_SECONDS * 2.0 ** min(number - 1, 20))
    return min(MAX_WAIT_SECONDS, backoff) * (1 + JITTER * random.random())


def _follow(
    address: WebAddress, limits: TryLimits, manners: Manners, terms: UsageTerms, *, is_retry: bool
) -> FetchSteps:
    deadline = Deadline.after(limits.deadline_seconds)
    visited = [address.url]
    while True:
        if manners.robots == "respect":
            yield from _obey_robots(address, deadline, terms)
        response = yield from _ask(Ask(address, deadline, limits.cap, is_retry), is_first=len(visited) == 1)
        if response.status not in REDIRECTS:
            terms.headers = evidence(response.headers)
            return _accepted(response, manners)
        location = response.headers.get("Location", "")
        address = follow_address(address, location)
        if not location or visited.count(address.url) >= MAX_VISITS or len(visited) > MAX_REDIRECTS:
            raise RowError(Reason.REDIRECT_LOOP)
        visited.append(address.url)


def _obey_robots(address: WebAddress, deadline: Deadline, terms: UsageTerms) -> Generator[Step, StepAnswer, None]:
    """Ask what robots.txt says; the time that it takes is not the row's. Raises `RobotsError`."""
    asked_at = time.monotonic()
    robots = yield AskRobots(robots_address(address))
    deadline.extend(time.monotonic() - asked_at)
    if not isinstance(robots, Robots):
        raise TypeError("a question for robots.txt was answered without one")
    terms.robots, reason = robots.verdict(address)
    if reason is not None:
        raise RobotsError(reason)


def _ask(ask: Ask, *, is_first: bool) -> FetchSteps:
    try:
        response = yield ask
    except RowError as error:
        if error.reason is Reason.URL_FORBIDDEN_ADDRESS and not is_first:
            raise RowError(Reason.REDIRECT_FORBIDDEN) from error
        raise
    if not isinstance(response, HttpResponse):
        raise TypeError("a request was answered without a response")
    return response


def _accepted(response: HttpResponse, manners: Manners) -> HttpResponse:
    if 200 <= response.status < 300:
        if not response.num_body_bytes:
            raise RowError(Reason.EMPTY_BODY)
        reason = refusal(response.headers, manners.opt_outs)
        if reason is not None:
            raise RowError(reason)
        return response
    raise RowError(_reason_of_status(response.status), _retry_after_seconds(response))


def _reason_of_status(status: int) -> Reason:
    match status:
        case 404 | 410:
            return Reason.NOT_FOUND
        case 401 | 402 | 403 | 407 | 451:
            return Reason.REFUSED
        case 429:
            return Reason.RATE_LIMITED
        case 408 | 425:
            return Reason.SERVER_ERROR
    return Reason.SERVER_ERROR if status >= 500 else Reason.HTTP_STATUS


def _retry_after_seconds(response: HttpResponse) -> float:
    """Seconds of a `Retry-After` header; 0 where there is none, or one that gives a date."""
    value: str = response.headers.get("Retry-After", "").strip()
    return float(value[:9]) if value.isascii() and value.isdecimal() else 0.0
