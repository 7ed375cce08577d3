"""The client follows redirects and retries; what a single response ends with is in test_fetching.py."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from stages.download.http.http_client import HttpClient
from stages.download.reasons import Reason, RowError


def get(web: Any, url: str, *, num_tries: int = 1, timeout_seconds: float = 10.0) -> bytes:
    client = HttpClient(web.routes, num_tries=num_tries, max_body_bytes=100_000)
    try:
        return client.get(url, [("User-Agent", "a test")], timeout_seconds).body
    finally:
        client.close()


def test_headers_are_sent_at_every_hop(web: Any, http_answer: Callable[..., bytes]) -> None:
    web.says("/new", http_answer(b"a body"))
    old = web.says("/old", http_answer(b"", "Location: /new", status="301 Moved"))
    assert get(web, old) == b"a body"
    assert all(b"User-Agent: a test" in web.requests[path] for path in ("/old", "/new"))


def test_the_deadline_of_a_try_holds_for_all_its_redirects(web: Any, http_answer: Callable[..., bytes]) -> None:
    def slowly_on(connection: socket.socket, web: Any) -> None:
        web.closing.wait(0.4)
        number = sum(web.asked.values())
        connection.sendall(http_answer(b"", f"Location: /{number}", status="302 Found"))

    for number in range(6):
        web.does(f"/{number}", slowly_on)
    started = time.monotonic()
    with pytest.raises(RowError) as caught:
        get(web, "http://bad.invalid/0", timeout_seconds=1.0)
    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 2.0


def test_the_last_failure_is_the_one_that_is_raised(web: Any, http_answer: Callable[..., bytes]) -> None:
    def busy_then_gone(connection: socket.socket, web: Any) -> None:
        status = "503 Busy" if web.asked["/"] == 1 else "404 Not Found"
        connection.sendall(http_answer(b"", status=status))

    with pytest.raises(RowError) as caught:
        get(web, web.does("/", busy_then_gone), num_tries=5)
    assert caught.value.reason is Reason.NOT_FOUND
    assert web.asked["/"] == 2
