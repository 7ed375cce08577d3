"""Names become checked addresses once, and names whose servers are silent keep nobody else waiting."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.download.address import parse_address
from stages.download.http import resolver as resolver_module
from stages.download.http.http_message import Deadline
from stages.download.http.resolver import Lookup, Resolver
from stages.download.reasons import Reason, RowError


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "0",
        "\uff11\uff12\uff17.0.0.1",
        "127%2e0.0.1",
        "①②⑦。0.0.1",
    ],
)
def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(RowError) as caught:
        Resolver({}).resolve(parse_address(f"http://{host}/"), Deadline.after(5))
    assert caught.value.reason is Reason.URL_FORBIDDEN_ADDRESS


def resolving_to(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> None:
    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if isinstance(answers[0], Exception):
            raise answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_with_one_private_answer_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "93.184.215.14", "10.0.0.1")
    with pytest.raises(RowError) as caught:
        Resolver({}).resolve(parse_address("http://example.org/"), Deadline.after(5))
    assert caught.value.reason is Reason.URL_FORBIDDEN_ADDRESS


def test_a_name_is_resolved_once_and_cannot_change_its_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver({})
    resolving_to(monkeypatch, "93.184.215.14")
    assert resolver.resolve(parse_address("http://example.org/"), Deadline.after(5)) == (("93.184.215.14", 80),)
    resolving_to(monkeypatch, "127.0.0.1")
    assert resolver.resolve(parse_address("http://example.org/again"), Deadline.after(5)) == (("93.184.215.14", 80),)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.HOST_UNKNOWN),
        (socket.gaierror(socket.EAI_AGAIN, "later"), Reason.DNS_ERROR),
    ],
)
def test_an_unknown_name_and_a_silent_resolver_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: Reason
) -> None:
    resolving_to(monkeypatch, error)
    with pytest.raises(RowError) as caught:
        Resolver({}).resolve(parse_address("http://example.org/"), Deadline.after(5))
    assert caught.value.reason is reason


def test_a_route_holds_for_its_own_host_over_http_only(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver({"toy.invalid": ("127.0.0.1", 8080)})
    assert resolver.resolve(parse_address("http://toy.invalid/a"), Deadline.after(5)) == (("127.0.0.1", 8080),)
    resolving_to(monkeypatch, socket.gaierror(socket.EAI_NONAME, "unknown"))
    for url in ("https://toy.invalid/a", "http://toy.invalid.example.org/a"):
        with pytest.raises(RowError):
            resolver.resolve(parse_address(url), Deadline.after(5))


def test_only_listed_hosts_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    resolver = Resolver({}, ("img.corp.example", ".lan.example"))
    for host in ("img.corp.example", "IMG.corp.example", "a.lan.example", "b.a.lan.example"):
        assert resolver.resolve(parse_address(f"http://{host}/"), Deadline.after(5)) == (("10.1.2.3", 80),)
    for host in ("corp.example", "a.img.corp.example", "lan.example", "evillan.example", "img.corp.example.org"):
        with pytest.raises(RowError, match="url_forbidden_address"):
            resolver.resolve(parse_address(f"http://{host}/"), Deadline.after(5))


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names that begin with `slow` are not answered before the event; `getaddrinfo` holds its thread meanwhile."""
    answered = threading.Event()

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host.startswith("slow"):
            answered.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answered
    answered.set()


def ends_of(resolver: Resolver, hosts: list[str], deadline_seconds: float, at_once: int) -> dict[str, object]:
    def ask(host: str) -> object:
        try:
            return resolver.resolve(parse_address(f"http://{host}/"), Deadline.after(deadline_seconds))
        except RowError as error:
            return error.reason

    with ThreadPoolExecutor(at_once) as threads:
        return dict(zip(hosts, threads.map(ask, hosts), strict=True))


@pytest.mark.parametrize("num_slow", [16, 100])
def test_slow_names_lose_no_other(slow_names: threading.Event, num_slow: int) -> None:
    resolver = Resolver({})
    slow = [f"slow{number}.example" for number in range(num_slow)]
    live = [f"live{number}.example" for number in range(300)]
    mixed = [host for pair in zip(slow * (300 // num_slow + 1), live, strict=False) for host in pair]
    ends = ends_of(resolver, mixed, 0.3, at_once=40)
    resolver.close()
    assert {ends[host] for host in slow} == {Reason.TIMEOUT}
    assert {ends[host] for host in live} == {(("93.184.215.14", 80),)}


def test_time_in_the_queue_is_not_time_of_a_name(slow_names: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads are held for longer than the deadline, then come free."""
    monkeypatch.setattr(resolver_module, "MAX_THREADS", 4)
    resolver = Resolver({})
    for number in range(4):
        resolver.lookup(parse_address(f"http://slow{number}.example/"))
    threading.Timer(0.8, slow_names.set).start()
    started = time.monotonic()
    ends = ends_of(resolver, [f"live{number}.example" for number in range(20)], 0.3, at_once=20)
    resolver.close()
    assert set(ends.values()) == {(("93.184.215.14", 80),)}
    assert time.monotonic() - started >= 0.7


def test_a_queue_that_never_moves_is_a_resolver_that_does_not_answer(
    slow_names: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "MAX_THREADS", 1)
    monkeypatch.setattr(resolver_module, "MAX_QUEUED_SECONDS", 0.5)
    resolver = Resolver({})
    resolver.lookup(parse_address("http://slow.example/"))
    with pytest.raises(RowError) as caught:
        resolver.resolve(parse_address("http://live.example/"), Deadline.after(0.1))
    resolver.close()
    assert caught.value.reason is Reason.DNS_ERROR


def test_a_lookup_that_is_under_way_is_joined_and_its_late_answer_serves_the_next_try(
    slow_names: threading.Event,
) -> None:
    resolver = Resolver({})
    address = parse_address("http://slow.example/")
    first = resolver.lookup(address)
    assert isinstance(first, Lookup) and resolver.lookup(address) is first
    with pytest.raises(RowError) as caught:
        resolver.resolve(address, Deadline.after(0.2))
    assert caught.value.reason is Reason.TIMEOUT
    slow_names.set()
    assert resolver.resolve(address, Deadline.after(5)) == (("93.184.215.14", 80),)
    assert resolver.lookup(address) == (("93.184.215.14", 80),)
    resolver.close()


def test_a_failing_resolver_is_asked_again_and_a_name_that_does_not_exist_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN if host.startswith("later") else socket.EAI_NONAME, "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(resolver_module, "FORGET_SECONDS", 0.0)
    resolver = Resolver({})
    for host, reason in [("later.example", Reason.DNS_ERROR), ("none.example", Reason.HOST_UNKNOWN)] * 2:
        with pytest.raises(RowError) as caught:
            resolver.resolve(parse_address(f"http://{host}/"), Deadline.after(5))
        assert caught.value.reason is reason
    resolver.close()
    assert asked == ["later.example", "none.example", "later.example"]
