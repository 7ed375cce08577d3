"""What it takes to get a URL, step by step: redirects followed hop by hop, a deadline for each try, retries.

Every hop is checked like the first URL. Nothing is done here: each step says what is wanted, and the driver of the
steps does it, with threads or in an event loop. So all engines follow the same redirects and make the same tries.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final, TypeAlias

from stages.download.address import WebAddress, parse_address
from stages.download.http.http_message import Deadline, HttpResponse
from stages.download.manners.usage_terms import is_opted_out
from stages.download.reasons import Reason, RowError

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
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Ask:
    """Send one request, and answer with its response; or throw the `RowError` with which it failed."""

    address: WebAddress
    deadline: Deadline
    """Shared by all requests of one try; a queue in which the request stands extends it."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float
    host: str
    """The host that failed."""
    is_asked_for: bool
    """Whether the server itself asked for the wait (`Retry-After`), so that its other URLs had better wait, too."""


FetchSteps: TypeAlias = Generator[Ask | Pause, HttpResponse | None, HttpResponse]
"""Steps in progress; a successful response (2xx) is their return value, and they raise `RowError`."""


def fetch_steps(url: str, *, num_tries: int, deadline_seconds: float) -> FetchSteps:
    """The steps to the response behind the redirects. A try, with its redirects, may take `deadline_seconds`."""
    number = 1
    while True:
        address = parse_address(url)
        try:
            return (yield from _follow(address, Deadline.after(deadline_seconds)))
        except RowError as error:
            if not error.reason.retriable or number >= num_tries:
                raise
            pause = Pause(wait_seconds(error, number), address.host, error.retry_after_seconds > 0)
        yield pause
        number += 1


def wait_seconds(error: RowError, number: int) -> float:
    """Wait between try `number`, counted from 1, and the next one; with jitter, up to a quarter longer."""
    backoff = max(error.retry_after_seconds, FIRST_WAIT_SECONDS * 2.0 ** min(number - 1, 20))
    return min(MAX_WAIT_SECONDS, backoff) * (1 + JITTER * random.random())


def _follow(address: WebAddress, deadline: Deadline) -> FetchSteps:
    visited = [address.url]
    while True:
        response = yield from _ask(address, deadline, is_first=len(visited) == 1)
        if response.status not in REDIRECTS:
            return _accepted(response)
        location = response.headers.get("Location", "")
        address = address.follow(location)
        if not location or visited.count(address.url) >= MAX_VISITS or len(visited) > MAX_REDIRECTS:
            raise RowError(Reason.REDIRECT_LOOP)
        visited.append(address.url)


def _ask(address: WebAddress, deadline: Deadline, *, is_first: bool) -> FetchSteps:
    try:
        response = yield Ask(address, deadline)
    except RowError as error:
        if error.reason is Reason.URL_FORBIDDEN_ADDRESS and not is_first:
            raise RowError(Reason.REDIRECT_FORBIDDEN) from error
        raise
    if response is None:
        raise TypeError("a request was answered without a response")
    return response


def _accepted(response: HttpResponse) -> HttpResponse:
    if 200 <= response.status < 300:
        if not response.num_body_bytes:
            raise RowError(Reason.EMPTY_BODY)
        if is_opted_out(response.headers):
            raise RowError(Reason.OPT_OUT)
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
