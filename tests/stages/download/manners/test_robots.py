"""robots.txt is asked for once for an origin and obeyed, by every engine, and what it said is kept as evidence."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.download.address import parse_address
from stages.download.engines import event_loop, img2dataset
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.manners.robots import MAX_ROBOTS_BYTES, Robots, robots_of
from stages.download.manners.usage_terms import Manners, UsageTerms
from stages.download.reasons import Reason

LIMITS = FetchLimits(
    deadline_seconds=5.0, num_tries=1, max_body_bytes=100_000, manners=Manners(robots="respect")
)  # fmt: skip
FILE = b"""
User-agent: *
Disallow: /private/
Allow: /private/open
Disallow: /*.gif$
Content-Usage: /art/ train-ai=n
Content-Usage: search=n

User-agent: neo-pipelines
Disallow: /not-for-us/
Content-Usage: /our-art/ train-ai=n
Content-Usage: /our-art/free/ train-ai=y
"""


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/private/a.jpg", ("allowed", None)),  # a group of our own is the only one that counts
        ("/not-for-us/a.jpg", ("disallowed", Reason.ROBOTS_DISALLOWED)),
        ("/our-art/a.jpg", ("training disallowed", Reason.TRAINING_REFUSED)),
        ("/our-art/free/a.jpg", ("allowed", None)),
    ],
)
def test_the_group_for_us_counts(path: str, end: tuple[str, Reason | None]) -> None:
    assert robots_of(FILE).verdict(parse_address(f"http://a.example{path}")) == end


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/a.jpg", ("allowed", None)),
        ("/private/a.jpg", ("disallowed", Reason.ROBOTS_DISALLOWED)),
        ("/private/open.jpg", ("allowed", None)),  # the longest rule counts
        ("/a.gif", ("disallowed", Reason.ROBOTS_DISALLOWED)),
        ("/a.gif?x", ("allowed", None)),
        ("/art/a.jpg", ("training disallowed", Reason.TRAINING_REFUSED)),
    ],
)
def test_rules_for_everyone_count_where_there_is_no_group_for_us(path: str, end: tuple[str, Reason | None]) -> None:
    text = FILE.partition(b"\nUser-agent: neo")[0]
    assert robots_of(text).verdict(parse_address(f"http://a.example{path}")) == end


def test_usage_without_a_path_is_for_the_whole_origin() -> None:
    robots = robots_of(b"\xef\xbb\xbfuser-agent: *\r\ncontent-usage: train-ai=n # no\r\nallow: /\r\n")
    assert robots.verdict(parse_address("http://a.example/b")) == ("training disallowed", Reason.TRAINING_REFUSED)


@pytest.mark.parametrize("rule", ["Disallow: /x", "Allow: /", "Crawl-delay: 9", "Disallow:", "Content-Usage: search=n"])
@pytest.mark.parametrize("others_usage", ["train-ai=n", "/ train-ai=n"])
def test_usage_of_another_clients_group_is_not_ours(rule: str, others_usage: str) -> None:
    text = f"User-agent: *\n{rule}\n\nUser-agent: otherbot\nContent-Usage: {others_usage}\n"
    assert robots_of(text.encode()).verdict(parse_address("http://a.example/b")) == ("allowed", None)


def test_names_that_stand_together_share_their_usage() -> None:
    text = b"User-agent: *\nSitemap: http://a.example/s\nUser-agent: otherbot\nContent-Usage: train-ai=n\nAllow: /\n"
    verdict = robots_of(text).verdict(parse_address("http://a.example/b"))
    assert verdict == ("training disallowed", Reason.TRAINING_REFUSED)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\0", b"<!doctype html>", b"User-agent *\nDisallow", b"*" * 600_000])
def test_what_is_no_robots_txt_forbids_nothing(text: bytes) -> None:
    assert robots_of(text).verdict(parse_address("http://a.example/b")) == ("allowed", None)


@pytest.mark.parametrize(
    ("failure", "end"),
    [
        (Reason.NOT_FOUND, ("none", None)),
        (Reason.REFUSED, ("none", None)),
        (Reason.SERVER_ERROR, ("unreachable", Reason.ROBOTS_UNREACHABLE)),
        (Reason.RATE_LIMITED, ("unreachable", Reason.ROBOTS_UNREACHABLE)),
        (Reason.TIMEOUT, ("unreachable", Reason.TIMEOUT)),
        (Reason.HOST_UNKNOWN, ("unreachable", Reason.HOST_UNKNOWN)),
    ],
)
def test_a_missing_file_allows_and_a_server_in_trouble_forbids(failure: Reason, end: tuple[str, Reason | None]) -> None:
    assert Robots(failure=failure).verdict(parse_address("http://a.example/b")) == end


@pytest.mark.parametrize("engine", [event_loop, img2dataset])
def test_robots_txt_is_asked_for_once_and_obeyed_at_every_hop(
    engine: Any, web: Any, http_answer: Callable[..., bytes], tmp_path: Path
) -> None:
    web.says("/robots.txt", http_answer(b"User-agent: *\nDisallow: /no/"))
    urls = [web.says(f"/yes/{number}", http_answer(b"body", "TDM-Reservation: 0")) for number in range(10)]
    urls.append(web.says("/no/1", http_answer(b"body")))
    urls.append(web.says("/yes/moved", http_answer(b"", "Location: /no/1", status="302 Found")))
    found: dict[int, tuple[bytes | FetchFailure, UsageTerms]] = {}
    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=tmp_path)
    engine.fetch(task, lambda number, *end: found.__setitem__(number, end))
    disallowed = (FetchFailure(Reason.ROBOTS_DISALLOWED), UsageTerms("disallowed", None))
    kept = (b"body", UsageTerms("allowed", "TDM-Reservation: 0"))
    assert found == {**dict.fromkeys(range(10), kept), 10: disallowed, 11: disallowed}
    assert web.asked["/robots.txt"] == 1
    assert web.asked["/no/1"] == 0


@pytest.mark.parametrize("engine", [event_loop, img2dataset])
@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("404 No", (b"body", UsageTerms("none", None))),
        ("503 Busy", (FetchFailure(Reason.ROBOTS_UNREACHABLE), UsageTerms("unreachable", None))),
    ],
)
def test_a_robots_txt_that_is_not_there_and_one_that_cannot_be_got(
    engine: Any, status: str, end: object, web: Any, http_answer: Callable[..., bytes], tmp_path: Path
) -> None:
    web.says("/robots.txt", http_answer(b"", status=status))
    url = web.says("/a", http_answer(b"body"))
    found: list[object] = []
    task = FetchTask(urls=[url], routes=web.routes, limits=LIMITS, scratch=tmp_path)
    engine.fetch(task, lambda _, *end: found.append(end))
    assert found == [end]


LONG = b"User-agent: *\n" + b"".join(b"Disallow: /no/%06d\n" % number for number in range(40_000))
"""760 KB of rules; line 30,000 lies beyond what is read."""


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("engine", [event_loop, img2dataset])
@pytest.mark.parametrize(
    ("headers", "coded"),
    [
        ([f"Content-Length: {len(LONG)}"], LONG),
        (["Content-Length: none"], LONG),
        (["Transfer-Encoding: chunked"], chunked(LONG)),
        (["Content-Encoding: gzip"], gzip.compress(LONG, mtime=0)),
    ],
)
def test_of_a_long_robots_txt_the_beginning_counts_however_large_pictures_may_be(
    engine: Any, headers: list[str], coded: bytes, web: Any, http_answer: Callable[..., bytes], tmp_path: Path
) -> None:
    web.says("/robots.txt", "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + coded)
    paths = ("/no/000000.jpg", "/no/020000.jpg", "/no/039999.jpg", "/yes.jpg", "/large.jpg")
    urls = [web.says(path, http_answer(bytes(200_000) if "large" in path else b"body")) for path in paths]
    found: dict[int, bytes | FetchFailure] = {}
    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=tmp_path)
    engine.fetch(task, lambda number, end, _: found.__setitem__(number, end))
    no, large = FetchFailure(Reason.ROBOTS_DISALLOWED), FetchFailure(Reason.TOO_LARGE)
    assert found == {0: no, 1: no, 2: b"body", 3: b"body", 4: large}


@pytest.mark.parametrize("num_before", [MAX_ROBOTS_BYTES - 30, MAX_ROBOTS_BYTES])
def test_a_rule_that_is_cut_through_is_none(num_before: int) -> None:
    """`Disallow: /` is what may be left of `Disallow: /private`."""
    start = b"User-agent: *\nDisallow: /no\n#"
    for end in (b"\n", b"\r"):
        text = start + b"x" * (num_before - len(start) - 12) + end + b"Disallow: /private/of/somebody/else\n"
        robots = robots_of(text)
        assert robots.verdict(parse_address("http://a.example/b")) == ("allowed", None)
        assert robots.verdict(parse_address("http://a.example/no"))[1] is Reason.ROBOTS_DISALLOWED


@pytest.mark.parametrize("engine", [event_loop, img2dataset])
def test_nobody_asks_for_it_where_it_is_ignored_and_opt_outs_may_be(
    engine: Any, web: Any, http_answer: Callable[..., bytes], tmp_path: Path
) -> None:
    url = web.says("/a", http_answer(b"body", "Content-Usage: train-ai=n", "X-Robots-Tag: noai"))
    found: list[object] = []
    limits = replace(LIMITS, manners=Manners(opt_outs=("tdm_reservation",)))
    task = FetchTask(urls=[url], routes=web.routes, limits=limits, scratch=tmp_path)
    engine.fetch(task, lambda _, *end: found.append(end))
    assert found == [(b"body", UsageTerms(None, "X-Robots-Tag: noai\nContent-Usage: train-ai=n"))]
    assert not web.asked["/robots.txt"]
