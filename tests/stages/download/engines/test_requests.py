"""Outages of the resolver and the network, met by the engine of the event loop on real sockets of this machine."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.contract import NetworkDownError
from stages.download.engines import event_loop, url_steps
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.manners import network_watch
from stages.download.reasons import Reason
from tests.long import long

LIMITS = FetchLimits(deadline_seconds=5.0, num_tries=1, max_body_bytes=1000, allow_hosts=(".test",))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
NUM_HOSTS = 200
NUM_CONNECTED = 10
"""Hosts that were connected when an outage begins."""


class Names:
    """Answers for all names with the server, and fails when a test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.share_failing = 0.0
        self.is_dead_gone = True
        self.random = random.Random(4)

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        if (self.is_dead_gone and host.startswith("dead")) or self.random.random() < self.share_failing:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    monkeypatch.setattr(url_steps, "ROUND_SECONDS", 0.3)
    monkeypatch.setattr(network_watch, "FIRST_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(network_watch, "MAX_PROBE_SECONDS", 0.3)
    return found


@pytest.fixture
def port() -> Iterator[int]:
    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def ends_of(port: int, kind: str = "host", num_hosts: int = NUM_HOSTS, **changes: Any) -> list[bytes | Reason]:
    return ends_of_urls([f"http://{kind}{number}.test:{port}/" for number in range(num_hosts)], **changes)


def ends_of_urls(urls: list[str], **changes: Any) -> list[bytes | Reason]:
    found: dict[int, bytes | Reason] = {}
    task = FetchTask(urls=urls, routes={}, limits=replace(LIMITS, **changes), scratch=Path())
    event_loop.fetch(
        task,
        lambda number, end, _: found.__setitem__(number, end.reason if isinstance(end, FetchFailure) else end),
    )
    return [found[number] for number in range(len(urls))]


def test_a_resolver_that_fails_for_half_of_the_names_loses_none(names: Names, port: int) -> None:
    """Each try of a name fails with a half: of 200 hosts with two tries, nine rounds leave one in 1,300 runs."""
    names.share_failing = 0.5
    assert ends_of(port, num_tries=2) == [b"body"] * NUM_HOSTS


def test_a_resolver_that_is_gone_for_a_while_loses_none_and_costs_no_try(names: Names, port: int) -> None:
    names.share_failing = 1.0
    back = threading.Timer(1.0, setattr, (names, "share_failing", 0.0))
    back.start()
    assert ends_of(port) == [b"body"] * NUM_HOSTS


class MutedServer:
    """Takes connections and answers only while a test lets it; of what was asked before it sends nothing any more."""

    def __init__(self, listener: socket.socket, first_words: bytes) -> None:
        self.port = listener.getsockname()[1]
        self.is_muted = True
        self._listener = listener
        self._first_words = first_words
        self._held: list[socket.socket] = []

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.recv(4096)
                if self.is_muted:
                    connection.sendall(self._first_words if len(self._held) < NUM_CONNECTED else b"")
                    self._held.append(connection)
                else:
                    connection.sendall(ANSWER)
                    connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._held:
            connection.close()


@pytest.mark.parametrize("first_words", [b"", ANSWER[:20]])
def test_connections_that_an_outage_left_open_neither_end_it_nor_lose_their_urls(
    names: Names, first_words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They time out long after the network was found to be down; before its return nobody answers."""
    answered: list[tuple[str, bool]] = []
    note = network_watch.NetworkWatch.answered

    def noted(self: network_watch.NetworkWatch, host: str) -> None:
        answered.append((host, server.is_muted))
        note(self, host)

    def come_back() -> None:
        names.is_dead_gone, server.is_muted = False, False

    monkeypatch.setattr(network_watch.NetworkWatch, "answered", noted)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = MutedServer(listener, first_words)
        threading.Thread(target=server.serve, daemon=True).start()
        threading.Timer(2.0, come_back).start()
        urls = [f"http://{'host' if n < NUM_CONNECTED else 'dead'}{n}.test:{server.port}/" for n in range(60)]
        assert ends_of_urls(urls, deadline_seconds=1.0) == [b"body"] * 60
        server.close()
    assert answered and not any(is_muted for _, is_muted in answered)


def test_an_outage_without_end_ends_in_bounded_time_and_records_nothing(names: Names, port: int) -> None:
    names.share_failing = 1.0
    started = time.monotonic()
    with pytest.raises(NetworkDownError, match="max_outage_seconds"):
        ends_of(port, max_outage_seconds=0.5)
    assert time.monotonic() - started < 4.0


def test_a_list_of_dead_hosts_ends_where_that_is_accepted(names: Names, port: int) -> None:
    assert ends_of(port, "dead", max_outage_seconds=None) == [Reason.DNS_ERROR] * NUM_HOSTS


@pytest.mark.parametrize("every", [2, 5])
def test_dead_hosts_are_no_outage(names: Names, port: int, every: int) -> None:
    urls = [f"http://{'dead' if number % every == 0 else 'host'}{number}.test:{port}/" for number in range(100)]
    ends: dict[int, bytes | FetchFailure] = {}
    task = FetchTask(urls=urls, routes={}, limits=LIMITS, scratch=Path())
    started = time.monotonic()
    event_loop.fetch(task, lambda number, end, _: ends.__setitem__(number, end))
    assert time.monotonic() - started < 60.0  # not the ten minutes of an outage
    failed = FetchFailure(Reason.DNS_ERROR)
    assert [ends[number] for number in range(100)] == [failed if n % every == 0 else b"body" for n in range(100)]


@pytest.mark.parametrize(("num_slow", "num_honest"), [(8, 40), long(16, 84)])
def test_names_that_take_eight_seconds_lose_no_honest_url(
    names: Names, port: int, monkeypatch: pytest.MonkeyPatch, num_slow: int, num_honest: int
) -> None:
    """With a deadline of three seconds, and slow names before and between honest ones; each has a host of its own."""
    answer = names.getaddrinfo

    def slowly(host: str, to: int, **options: object) -> list[tuple[Any, ...]]:
        if host.startswith("slow"):
            time.sleep(8)
        return answer(host, to, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    urls = [f"http://slow{number}.test:{port}/" for number in range(num_slow)]
    for number in range(num_honest):
        urls.insert(3 * number, f"http://honest{number}.test:{port}/")
    ends = dict(zip(urls, ends_of_urls(urls, deadline_seconds=3.0), strict=True))
    assert [ends[url] for url in urls if "honest" in url] == [b"body"] * num_honest
    assert {ends[url] for url in urls if "slow" in url} <= {Reason.TIMEOUT, Reason.DNS_ERROR}
