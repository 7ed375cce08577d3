"""The only door to the network: what img2dataset's `download_image` gets when it opens a URL.

It calls `urllib.request.urlopen`, which asks the opener that is installed. Ours follows redirects hop by hop, each
checked like the first; waits no longer than the deadline; and tries again where another try may help.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Final

from stages.download.address import Resolver, WebAddress, parse_address
from stages.download.http_exchange import Answer, Deadline, exchange
from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes

MAX_REDIRECTS: Final = 5
FIRST_WAIT_SECONDS: Final = 0.25
"""Before the second try; doubles with each further one."""
MAX_WAIT_SECONDS: Final = 10.0
"""However long a server asks us to stay away."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DOOR: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a URL is asked for, and how much may come."""

    num_tries: int
    max_body_bytes: int


class Page:
    """An answer in the shape that callers of `urlopen` expect."""

    def __init__(self, answer: Answer) -> None:
        self.headers: Message = answer.headers
        self._body = answer.body

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        """The connection is closed already."""

    def read(self) -> bytes:
        return self._body


class GuardedOpener(urllib.request.OpenerDirector):
    """Opens URLs for the threads of one part."""

    def __init__(self, routes: Routes, patience: Patience) -> None:
        super().__init__()
        self._resolver = Resolver(routes)
        self._patience = patience

    def close(self) -> None:
        self._resolver.close()

    def open(self, fullurl: str | urllib.request.Request, data: object = None, timeout: float | None = None) -> Page:
        """Fetch a request's URL, each try within `timeout` seconds, redirects included. Raises `RowError`."""
        if data is not None or timeout is None or isinstance(fullurl, str):
            raise TypeError("only GET requests with a timeout are opened here")
        headers = list(fullurl.header_items())
        for number in range(1, self._patience.num_tries + 1):
            try:
                return Page(self._follow(parse_address(fullurl.full_url), headers, Deadline.after(timeout)))
            except RowError as error:
                if not error.reason.retriable or number == self._patience.num_tries:
                    raise
                time.sleep(_wait_seconds(error, number))
        raise RowError(Reason.UNEXPLAINED)

    def _follow(self, address: WebAddress, headers: list[tuple[str, str]], deadline: Deadline) -> Answer:
        """The answer at the end of the redirects."""
        seen = {address.url}
        while True:
            answer = self._ask(address, headers, deadline, is_first=len(seen) == 1)
            if answer.status not in REDIRECTS:
                return _accepted(answer)
            address = address.follow(answer.headers.get("Location", ""))
            if address.url in seen or len(seen) > MAX_REDIRECTS:
                raise RowError(Reason.REDIRECT_LOOP)
            seen.add(address.url)

    def _ask(
        self, address: WebAddress, headers: list[tuple[str, str]], deadline: Deadline, *, is_first: bool
    ) -> Answer:
        try:
            places = self._resolver.places(address, deadline.remaining_seconds())
        except RowError as error:
            if error.reason is Reason.URL_FORBIDDEN_ADDRESS and not is_first:
                raise RowError(Reason.REDIRECT_FORBIDDEN) from error
            raise
        return exchange(address, places, headers, deadline, self._patience.max_body_bytes)


@contextmanager
def installed(opener: GuardedOpener) -> Iterator[None]:
    """Let `urllib.request.urlopen` use this opener, and the one that was there before afterwards.

    A process has one such opener, so a second part in the same process waits for the first.
    """
    with _DOOR:
        before = urllib.request._opener  # type: ignore[attr-defined]
        urllib.request.install_opener(opener)
        try:
            yield
        finally:
            urllib.request._opener = before  # type: ignore[attr-defined]
            opener.close()


def _accepted(answer: Answer) -> Answer:
    if answer.status == 200:
        if not answer.body:
            raise RowError(Reason.EMPTY_BODY)
        return answer
    raise RowError(_reason_of_status(answer.status), _retry_after_seconds(answer))


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


def _retry_after_seconds(answer: Answer) -> float:
    asked: str = answer.headers.get("Retry-After", "").strip()
    return float(asked) if asked.isdecimal() else 0.0


def _wait_seconds(error: RowError, number: int) -> float:
    """Before the try after try `number`, which is counted from 1."""
    return min(MAX_WAIT_SECONDS, max(error.retry_after_seconds, FIRST_WAIT_SECONDS * 2.0 ** (number - 1)))
