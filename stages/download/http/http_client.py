"""GETs URLs by blocking sockets, one thread for each request. Many threads share one client."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import BinaryIO

from stages.download.http.fetch_steps import Pause, fetch_steps
from stages.download.http.http_exchange import get_once
from stages.download.http.http_message import HttpResponse
from stages.download.http.resolver import Resolver
from stages.download.reasons import RowError
from stages.origins.routes import Routes

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
        headers = list(headers)
        steps = fetch_steps(url, num_tries=self._num_tries, deadline_seconds=timeout_seconds)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    targets = self._resolver.resolve(step.address, step.deadline)
                    response = get_once(step.address, targets, headers, step.deadline, self._max_body_bytes, sink=sink)
                except RowError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as end:
            final: HttpResponse = end.value
            return final
