"""GET a URL: redirects followed hop by hop, a deadline for each try, retries where another try may help.

Every hop is checked like the first URL. Safe to use from many threads at once; an engine that runs threads shares one
client between them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import BinaryIO, Final

from stages.download.address import Resolver, WebAddress, parse_address
from stages.download.http_exchange import get_once
from stages.download.http_message import Deadline, HttpResponse
from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes

MAX_REDIRECTS: Final = 10
"""Redirects that are followed, as many as urllib follows."""
MAX_VISITS: Final = 4
"""Times that one URL is asked for in a try: some servers send a client back to where it comes from once."""
FIRST_WAIT_SECONDS: Final = 0.25
"""Wait before the second try; doubles before each further one (0.25 s, 0.5 s, 1 s, ...)."""
MAX_WAIT_SECONDS: Final = 10.0
"""Longest wait before a retry, even where `Retry-After` asks for more."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

Headers = Iterable[tuple[str, str]]
"""Names and values of request headers."""


class HttpClient:
    """Gets URLs for the threads of one part. Close it to let go of its resolver's threads."""

    def __init__(
        self, routes: Routes, *, num_tries: int, max_body_bytes: int, allow_hosts: Collection[str] = ()
    ) -> None:
        self._resolver = Resolver(routes, allow_hosts)
        self._num_tries = num_tries
        self._max_body_bytes = max_body_bytes

    def close(self) -> None:
        """Stop resolving names."""
        self._resolver.close()

    def get(self, url: str, headers: Headers, timeout_seconds: float, sink: BinaryIO | None = None) -> HttpResponse:
        """The successful response (2xx) at the end of the redirects. Raises `RowError`.

        Each try may take `timeout_seconds`, its redirects included. With a `sink` the body is written there.
        """
        headers, number = list(headers), 1
        while True:
            try:
                return self._follow(parse_address(url), headers, Deadline.after(timeout_seconds), sink)
            except RowError as error:
                if not error.reason.retriable or number >= self._num_tries:
                    raise
                time.sleep(_wait_seconds(error, number))
            number += 1

    def _follow(self, address: WebAddress, headers: Headers, deadline: Deadline, sink: BinaryIO | None) -> HttpResponse:
        visited = [address.url]
        while True:
            response = self._ask(address, headers, deadline, sink, is_first=len(visited) == 1)
            if response.status not in REDIRECTS:
                return _accepted(response)
            location = response.headers.get("Location", "")
            address = address.follow(location)
            if not location or visited.count(address.url) >= MAX_VISITS or len(visited) > MAX_REDIRECTS:
                raise RowError(Reason.REDIRECT_LOOP)
            visited.append(address.url)

    def _ask(
        self, address: WebAddress, headers: Headers, deadline: Deadline, sink: BinaryIO | None, *, is_first: bool
    ) -> HttpResponse:
        try:
            targets = self._resolver.resolve(address, deadline.remaining_seconds())
        except RowError as error:
            if error.reason is Reason.URL_FORBIDDEN_ADDRESS and not is_first:
                raise RowError(Reason.REDIRECT_FORBIDDEN) from error
            raise
        return get_once(address, targets, headers, deadline, self._max_body_bytes, sink=sink)


def _accepted(response: HttpResponse) -> HttpResponse:
    if 200 <= response.status < 300:
        if not response.num_body_bytes:
            raise RowError(Reason.EMPTY_BODY)
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
    return float(value) if value.isdecimal() else 0.0


def _wait_seconds(error: RowError, number: int) -> float:
    """Wait between try `number`, counted from 1, and the next one."""
    return min(MAX_WAIT_SECONDS, max(error.retry_after_seconds, FIRST_WAIT_SECONDS * 2.0 ** (number - 1)))
