"""The engine of an event loop: what it delivers, how it treats hosts, and that slow servers cost others nothing."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from stages.download.engines import connection, event_loop
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.http.http_message import BodyCap, Deadline, Wire, read_response
from stages.download.manners.usage_terms import UsageTerms
from stages.download.reasons import Reason

LIMITS = FetchLimits(deadline_seconds=10.0, num_tries=1, max_body_bytes=4_000_000)
Ends = dict[int, bytes | FetchFailure]


def delivered(urls: list[str], routes: dict[str, tuple[str, int]], **changes: Any) -> Ends:
    found: Ends = {}
    task = FetchTask(urls=urls, routes=routes, limits=replace(LIMITS, **changes), scratch=Path())
    event_loop.fetch(task, lambda number, end, _: found.__setitem__(number, end))
    return found


@dataclass
class KeepingServer:
    """Answers many requests on a connection, and counts connections and requests that are open at once."""

    answer: Callable[[str, int], bytes]
    """From path and number of the request on its connection to the bytes that are sent; b"" closes without a word."""
    num_later: int = 0
    """Last bytes of each answer that are sent a moment after the others."""
    num_connections: int = 0
    num_open: int = 0
    most_open: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    requests: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.num_connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(20)
            number = 0
            while request := connection.recv(65536):
                path = request.split()[1].decode("latin-1")
                with self.lock:
                    self.requests.append(request)
                    self.asked[path] += 1
                    self.num_open += 1
                    self.most_open = max(self.most_open, self.num_open)
                said = self.answer(path, number)
                with self.lock:
                    self.num_open -= 1
                if not said:
                    return
                if self.num_later:
                    connection.sendall(said[: -self.num_later])
                    time.sleep(0.2)
                connection.sendall(said[-self.num_later :])
                number += 1


Start = Callable[[Callable[[str, int], bytes]], tuple[KeepingServer, dict[str, tuple[str, int]]]]


@pytest.fixture
def start() -> Iterator[Start]:
    listeners: list[socket.socket] = []

    def begin(answer: Callable[[str, int], bytes]) -> tuple[KeepingServer, dict[str, tuple[str, int]]]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        listeners.append(listener)
        server = KeepingServer(answer)
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        return server, dict.fromkeys(("keep.invalid", "other.invalid"), listener.getsockname())

    yield begin
    for listener in listeners:
        listener.close()


def said(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def urls_of(num: int, host: str = "keep.invalid") -> list[str]:
    return [f"http://{host}/{number}" for number in range(num)]


def test_every_url_is_delivered_by_its_index(start: Start) -> None:
    _, routes = start(lambda path, _: said(path.encode()) if path != "/3" else said(b"", status="404 Gone"))
    ends = delivered([*urls_of(5), "http://keep.invalid/0"], routes)
    assert ends == {0: b"/0", 1: b"/1", 2: b"/2", 3: FetchFailure(Reason.NOT_FOUND), 4: b"/4", 5: b"/0"}


def test_connections_are_kept_where_more_urls_of_the_host_wait(start: Start) -> None:
    server, routes = start(lambda path, _: said(path.encode()))
    assert delivered(urls_of(50), routes, max_requests_per_host=2) == {n: f"/{n}".encode() for n in range(50)}
    assert server.num_connections < 10
    # Two connections end side by side, so that the answer to the very last URL may be asked for before the other one's.
    assert any(b"Connection: close" in request for request in server.requests[-2:])
    assert b"Connection" not in server.requests[0]


def test_bytes_that_come_late_behind_an_answer_cost_the_next_url_nothing(start: Start) -> None:
    server, routes = start(lambda path, _: said(path.encode()) + (b"late" if path == "/0" else b""))
    server.num_later = 4
    ends = delivered(urls_of(12), routes, max_requests_per_host=1)
    assert ends == {number: f"/{number}".encode() for number in range(12)}
    assert server.num_connections >= 2


def test_a_connection_is_not_shared_between_hosts(start: Start) -> None:
    server, routes = start(lambda path, _: said(path.encode()))
    delivered([*urls_of(6), *urls_of(6, "other.invalid")], routes, max_requests_per_host=1)
    assert server.num_connections >= 2


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 200 OK\r\nContent-Len"])
def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing_and_a_broken_answer_its_row(
    start: Start, last_words: bytes
) -> None:
    """Without a byte of an answer the server had closed before it read the request; with some it failed at it."""

    def two_each(path: str, number: int) -> bytes:
        return said(path.encode()) if number < 2 else last_words

    _, routes = start(two_each)
    ends = list(delivered(urls_of(12), routes, max_requests_per_host=1, deadline_seconds=1.0).values())
    if last_words:
        assert FetchFailure(Reason.TIMEOUT) in ends
    else:
        assert sorted(ends) == sorted(f"/{number}".encode() for number in range(12))


@pytest.mark.parametrize(
    "doubtful",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody" + said(b"foul"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        said(b"body", "Connection: close"),
    ],
)
def test_a_connection_whose_end_of_body_is_open_to_doubt_is_not_kept(start: Start, doubtful: bytes) -> None:
    server, routes = start(lambda path, _: doubtful)
    assert set(delivered(urls_of(5), routes, max_requests_per_host=1).values()) == {b"body"}
    assert server.num_connections == 5


@pytest.mark.parametrize(
    "body", [b"Content-Length: 8\r\n\r\nbodybody", b"Transfer-Encoding: chunked\r\n\r\n8\r\nbodybody\r\n0\r\n\r\n"]
)
def test_a_connection_of_whose_body_the_beginning_was_taken_is_not_kept(body: bytes) -> None:
    """However it arrives: the end of the body must not be taken for the next answer."""
    for num_first in range(1, len(body)):
        reading = read_response(Wire(BodyCap(4, takes_beginning=True)))
        next(reading)
        with pytest.raises(StopIteration) as end:
            for data in (b"HTTP/1.1 200 OK\r\n" + body[:num_first], body[num_first:]):
                reading.send(data)
        assert (end.value.value.body, end.value.value.is_reusable) == (b"body", False)


def test_a_host_gets_so_many_requests_at_once(start: Start) -> None:
    def slowly(path: str, _: int) -> bytes:
        time.sleep(0.02)
        return said(path.encode())

    server, routes = start(slowly)
    assert len(delivered(urls_of(40), routes, max_requests_per_host=3)) == 40
    assert 2 <= server.most_open <= 3


def test_a_host_that_asks_for_a_pause_gets_it_for_all_of_its_urls(start: Start) -> None:
    moments: list[float] = []

    def busy_first(path: str, _: int) -> bytes:
        moments.append(time.monotonic())
        busy = len(moments) == 1
        return said(b"", "Retry-After: 1", status="429 Slow Down") if busy else said(path.encode())

    _, routes = start(busy_first)
    ends = delivered(urls_of(4), routes, max_requests_per_host=1, num_tries=2)
    assert ends == {number: f"/{number}".encode() for number in range(4)}
    assert moments[1] - moments[0] >= 0.95


def test_drips_leave_room_for_others_and_end_at_their_deadline(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.download.engines.requests.NUM_AT_ONCE", 4)
    monkeypatch.setattr("stages.download.engines.requests.SLOW_SECONDS", 0.1)
    ended_at: dict[int, float] = {}

    def drip(path: str, _: int) -> bytes:
        if int(path[1:]) < 8:
            time.sleep(20)
        return said(path.encode())

    _, routes = start(drip)
    started = time.monotonic()
    task = FetchTask(
        urls=urls_of(40), routes=routes, scratch=Path(),
        limits=replace(LIMITS, deadline_seconds=3.0, max_requests_per_host=30),
    )  # fmt: skip
    ends: Ends = {}

    def deliver(number: int, end: bytes | FetchFailure, _: UsageTerms) -> None:
        ends[number], ended_at[number] = end, time.monotonic() - started

    event_loop.fetch(task, deliver)
    assert {ends[number] for number in range(8)} == {FetchFailure(Reason.TIMEOUT)}
    assert max(ended_at[number] for number in range(8, 40)) < 2.5
    assert min(ended_at[number] for number in range(8)) >= 3.0


def test_large_bodies_take_turns_and_wait_without_harm(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(connection.LargePlaces.__init__, "__defaults__", (2,))
    take_place, ended = connection.Connection.take_place, connection.Connection._ended

    def counted(self: connection.Connection) -> None:
        take_place(self)
        held.append(held[-1] + 1 if held else 1)

    def counted_down(self: connection.Connection) -> Any:
        if self._has_place:
            held.append(held[-1] - 1)
        return ended(self)

    monkeypatch.setattr(connection.Connection, "take_place", counted)
    monkeypatch.setattr(connection.Connection, "_ended", counted_down)
    _, routes = start(lambda path, _: said(path.encode() * 1_500_000))
    ends = delivered(urls_of(12), routes, max_requests_per_host=12)
    assert all(ends[number] == f"/{number}".encode() * 1_500_000 for number in range(10))
    assert 1 <= max(held) <= 3 and held[-1] == 0


def test_a_body_that_is_large_by_its_last_bytes_needs_no_place(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is kept, and must not be stopped for good."""
    monkeypatch.setattr(connection.LargePlaces.__init__, "__defaults__", (0,))
    server, routes = start(lambda _, __: said(bytes(connection.LARGE_BYTES)))
    server.num_later = 1000
    ends = delivered(urls_of(3), routes, max_requests_per_host=1, deadline_seconds=3.0)
    assert ends == dict.fromkeys(range(3), bytes(connection.LARGE_BYTES))
    assert server.num_connections == 1


def test_a_response_that_ends_while_it_waits_for_a_place_takes_none_and_ends_its_connection() -> None:
    """TLS gives bytes that it has unpacked already after the stop."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * connection.LARGE_BYTES)

    async def talk() -> None:
        places = connection.LargePlaces(0)
        ours, theirs = socket.socketpair()
        with theirs:
            make = asyncio.get_running_loop().create_connection
            _, stopped = await make(lambda: connection.Connection(places), sock=ours)
            answer = stopped.ask(b"GET", Deadline.after(5.0), BodyCap(4_000_000))
            stopped.data_received(head + bytes(connection.LARGE_BYTES))
            assert not answer.done()
            stopped.data_received(bytes(connection.LARGE_BYTES))
            assert (await answer).num_body_bytes == 2 * connection.LARGE_BYTES
            assert not stopped.is_open
            places.give_back()
            assert places._num_free == 1

    asyncio.run(talk())


def test_a_slow_receiver_slows_the_requests_down(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "MAX_WAITING_BYTES", 100_000)
    server, routes = start(lambda path, _: said(bytes(50_000)))
    ahead: list[int] = []

    def slowly(number: int, _: bytes | FetchFailure, __: UsageTerms) -> None:
        time.sleep(0.01)
        ahead.append(sum(server.asked.values()) - len(ahead))

    task = FetchTask(urls=urls_of(100), routes=routes, limits=LIMITS, scratch=Path())
    event_loop.fetch(task, slowly)
    assert len(ahead) == 100
    assert max(ahead) < 30


def test_an_error_of_the_caller_ends_the_loop(start: Start) -> None:
    _, routes = start(lambda path, _: said(b"body"))

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        event_loop.fetch(FetchTask(urls=urls_of(200), routes=routes, limits=LIMITS, scratch=Path()), full)
    assert not [thread for thread in threading.enumerate() if thread.name == "fetch"]


def test_two_parts_in_one_process_do_not_meet(start: Start) -> None:
    _, routes = start(lambda path, _: said(path.encode()))
    ends: list[Ends] = []
    threads = [threading.Thread(target=lambda: ends.append(delivered(urls_of(50), routes))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [{number: f"/{number}".encode() for number in range(50)}] * 3


def test_a_server_that_speaks_no_tls_is_a_tls_error(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    _, routes = start(lambda path, _: b"HTTP/1.1 400 Bad Request\r\n\r\n")
    _, port = routes["keep.invalid"]
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    ends = delivered([f"https://keep.invalid:{port}/"], {}, allow_hosts=("keep.invalid",))
    assert ends == {0: FetchFailure(Reason.TLS_ERROR)}


def test_a_port_of_which_nobody_listens_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        routes = {"keep.invalid": closed.getsockname()}
    assert delivered(urls_of(3), routes, num_tries=2) == dict.fromkeys(range(3), FetchFailure(Reason.CONNECT_ERROR))


def test_no_urls_are_no_work() -> None:
    assert delivered([], {}) == {}


def test_another_try_takes_a_connection_of_its_own(start: Start) -> None:
    """The server serves two requests of a connection, then holds it without a word."""

    def two_each(path: str, number: int) -> bytes:
        if number == 2:
            time.sleep(3)
            return b""
        return said(path.encode())

    _, routes = start(two_each)
    ends = delivered(urls_of(6), routes, max_requests_per_host=1, deadline_seconds=1.5, num_tries=2)
    assert ends == {number: f"/{number}".encode() for number in range(6)}
