"""The server: real HTTP on loopback, each path answered as `answers.py` says, and no trace when it closes."""

import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from stages.toy_world.addresses import Address
from stages.toy_world.oddities import NUM_PER_DECK, Oddity, oddity
from stages.toy_world.responses import STALL_SECONDS, response_to
from stages.toy_world.server import ServedWorld, serve

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def web() -> Iterator[ServedWorld]:
    with serve() as served:
        yield served


def first(odd: Oddity) -> Address:
    return next(Address(7, "train", n) for n in range(NUM_PER_DECK) if oddity(7, n) is odd)


def fetched(web: ServedWorld, address: Address) -> bytes:
    with urllib.request.urlopen(web.locate(address.url), timeout=PATIENCE_SECONDS) as response:
        body: bytes = response.read()
    return body


def test_the_name_is_mapped_to_the_port_and_others_are_refused(web: ServedWorld) -> None:
    assert web.locate("http://toy.invalid/7/train/000001.jpg") == f"http://127.0.0.1:{web.port}/7/train/000001.jpg"
    for url in ("http://example.org/a.jpg", "https://toy.invalid/7/train/000001.jpg", "file:///etc/hosts"):
        with pytest.raises(ValueError, match="not on the toy web"):
            web.locate(url)


def test_a_picture_arrives_whole(web: ServedWorld) -> None:
    address = first(Oddity.PLAIN)
    assert fetched(web, address) == response_to(address.path).body


def test_a_missing_picture_is_404(web: ServedWorld) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetched(web, first(Oddity.MISSING))


def test_one_connection_serves_many_requests(web: ServedWorld) -> None:
    connection = http.client.HTTPConnection(web.ip, web.port, timeout=PATIENCE_SECONDS)
    for number in range(50):
        address = Address(7, "heldout", number)
        connection.request("GET", address.path)
        assert connection.getresponse().read() == response_to(address.path).body
    connection.close()


def test_a_slow_answer_comes_after_its_delay(web: ServedWorld) -> None:
    address = first(Oddity.SLOW)
    started = time.monotonic()
    assert fetched(web, address) == response_to(address.path).body
    assert time.monotonic() - started >= response_to(address.path).delay_seconds


def test_a_stalled_answer_outlasts_a_deadline_and_holds_nobody_up(web: ServedWorld) -> None:
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(web.locate(first(Oddity.STALLED).url), timeout=0.3)
    assert fetched(web, first(Oddity.PLAIN))


def test_a_dripping_answer_sends_a_byte_at_a_time(web: ServedWorld) -> None:
    with socket.create_connection((web.ip, web.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET {first(Oddity.DRIPPING).path} HTTP/1.1\r\nHost: toy.invalid\r\n\r\n".encode())
        received = b""
        started = time.monotonic()
        while time.monotonic() - started < 0.9:
            received += connection.recv(4096)
    body = received.partition(b"\r\n\r\n")[2]
    assert 1 <= len(body) <= 5


def test_an_endless_answer_goes_on_until_the_client_leaves(web: ServedWorld) -> None:
    with urllib.request.urlopen(web.locate(first(Oddity.ENDLESS).url), timeout=PATIENCE_SECONDS) as response:
        assert len(response.read(5_000_000)) == 5_000_000


def test_many_clients_at_once_get_what_they_asked_for(web: ServedWorld) -> None:
    wrong: list[int] = []

    def ask(start: int) -> None:
        for number in range(start, start + 10):
            address = Address(7, "heldout", number)
            if fetched(web, address) != response_to(address.path).body:
                wrong.append(number)

    clients = [threading.Thread(target=ask, args=(start,)) for start in range(0, 160, 10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert wrong == []


def test_closing_frees_the_port_at_once_even_while_answers_stall() -> None:
    with serve() as served:
        connection = http.client.HTTPConnection(served.ip, served.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", first(Oddity.STALLED).path)
        time.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < STALL_SECONDS / 2
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((served.ip, served.port), timeout=1.0)
