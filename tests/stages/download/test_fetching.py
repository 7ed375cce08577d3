"""Every row ends with exactly one reason of the closed list, whatever the web does, and within its deadline."""

import errno
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from neo_model.inputs.signatures import FORMATS
from stages.download.address import parse_address
from stages.download.engines import event_loop, img2dataset
from stages.download.engines.interface import FetchEngine, FetchFailure, FetchLimits, FetchTask
from stages.download.fetching import FetchedPart, RowOutcome, fetch_part
from stages.download.http.http_exchange import get_once
from stages.download.http.http_message import BodyCap, Deadline
from stages.download.judge_picture import PictureJudge, PictureRule
from stages.download.manners.usage_terms import UsageTerms
from stages.download.reasons import Reason, RowError
from stages.download.spool import Spool

MAX_IMAGE_BYTES = 200_000
ENGINES = [event_loop.fetch, img2dataset.fetch]
LIMITS = FetchLimits(deadline_seconds=30.0, num_tries=1, max_body_bytes=MAX_IMAGE_BYTES)
RULE = PictureRule(max_pixels_px=1_000_000, animated="drop", resize_mode="no", resize_px=1024, jpeg_quality=95)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.__module__.rpartition(".")[2])
def engine(request: pytest.FixtureRequest) -> FetchEngine:
    """Every engine: the same answers end alike."""
    return request.param


def fetched(web: Any, urls: list[str], scratch: Path, **options: Any) -> FetchedPart:
    """Fetch with the tests' rule and limits; options go to `fetch_part`."""
    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=scratch)
    return fetch_part(task, RULE, **{"report": lambda _: None, **options})


@pytest.fixture
def fetch_one(web: Any, tmp_path: Path, engine: FetchEngine) -> Callable[..., RowOutcome]:
    def ask(url: str, **changes: Any) -> RowOutcome:
        scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        task = FetchTask(urls=[url], routes=web.routes, limits=replace(LIMITS, **changes), scratch=scratch)
        (outcome,) = fetch_part(task, RULE, lambda _: None, engine).outcomes
        return outcome

    return ask


def drip(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not web.closing.wait(0.1):
        connection.sendall(b"x")


def drip_headers(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not web.closing.wait(0.1):
        connection.sendall(b"X-Slow: yes\r\n")


def stay_silent(_: socket.socket, web: Any) -> None:
    web.closing.wait(30)


def send_without_end(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not web.closing.is_set():
        connection.sendall(bytes(65536))


def send_chunks_without_end(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not web.closing.is_set():
        connection.sendall(b"1\r\nx\r\n" * 8192)


def send_headers_without_end(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not web.closing.is_set():
        connection.sendall(b"X-Header: " + b"x" * 8192 + b"\r\n")


def send_one_header_without_end(connection: socket.socket, web: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Header: ")
    while not web.closing.is_set():
        connection.sendall(b"x" * 65536)


SCRIPTS = {
    Reason.TIMEOUT: (drip, drip_headers, stay_silent),
    Reason.TOO_LARGE: (send_without_end, send_chunks_without_end),
    Reason.BAD_RESPONSE: (send_headers_without_end, send_one_header_without_end),
}


@pytest.mark.parametrize(("reason", "script"), [(reason, one) for reason, all_ in SCRIPTS.items() for one in all_])
def test_an_answer_without_end_ends_at_the_deadline_or_the_cap(
    web: Any, fetch_one: Any, reason: Reason, script: Any
) -> None:
    fetch_one(web.says("/warm", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    deadline_seconds = 2.0 if reason is Reason.TIMEOUT else 30.0
    assert fetch_one(web.does("/endless", script), deadline_seconds=deadline_seconds) is reason


BOMB = zlib.compress(bytes(50_000_000), 9)
ANSWERS: list[tuple[Reason, Callable[..., bytes]]] = [
    (Reason.CUT_SHORT, lambda answer, photo: answer(photo, length=len(photo) + 1)),
    (Reason.CUT_SHORT, lambda answer, photo: answer(gzip.compress(photo)[:-20], "Content-Encoding: gzip")),
    (Reason.CUT_SHORT, lambda answer, photo: b"HTTP/1.1 200 OK\r\nContent-Le"),
    (Reason.TRUNCATED, lambda answer, photo: answer(photo, length=len(photo) - 100)),
    (Reason.TRUNCATED, lambda answer, photo: answer(photo[: len(photo) // 2])),
    (Reason.BAD_RESPONSE, lambda answer, photo: b"SSH-2.0-OpenSSH_9.2\r\n"),
    (Reason.BAD_RESPONSE, lambda answer, photo: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    (Reason.BAD_ENCODING, lambda answer, photo: answer(b"\x8b\x07\x80coded", "Content-Encoding: br")),
    (Reason.BAD_ENCODING, lambda answer, photo: answer(b"<!doctype html>", "Content-Encoding: gzip")),
    (Reason.BAD_ENCODING, lambda answer, photo: answer(gzip.compress(photo)[:-8] + bytes(8), "Content-Encoding: gzip")),
    (Reason.BAD_ENCODING, lambda answer, photo: answer(six_times(photo), f"Content-Encoding: {'gzip,' * 6}")),
    (Reason.TOO_LARGE, lambda answer, photo: answer(photo, length=MAX_IMAGE_BYTES + 1)),
    (Reason.TOO_LARGE, lambda answer, photo: answer(BOMB, "Content-Encoding: deflate")),
    (Reason.REDIRECT_FORBIDDEN, lambda answer, photo: redirect(answer, "http://169.254.169.254/latest/meta-data/")),
    (Reason.REDIRECT_FORBIDDEN, lambda answer, photo: redirect(answer, "http://localhost/")),
    (Reason.REDIRECT_FORBIDDEN, lambda answer, photo: redirect(answer, "file:///etc/hostname")),
    (Reason.REDIRECT_LOOP, lambda answer, photo: redirect(answer, "/answer")),
    (Reason.REDIRECT_LOOP, lambda answer, photo: answer(b"", status="302 Found")),
    (Reason.NOT_FOUND, lambda answer, photo: answer(photo, status="404 Not Found")),
    (Reason.NOT_FOUND, lambda answer, photo: answer(b"", status="410 Gone")),
    (Reason.REFUSED, lambda answer, photo: answer(b"", status="403 Forbidden")),
    (Reason.RATE_LIMITED, lambda answer, photo: answer(b"", status="429 Too Many Requests")),
    (Reason.SERVER_ERROR, lambda answer, photo: answer(b"", status="503 Service Unavailable")),
    (Reason.HTTP_STATUS, lambda answer, photo: answer(b"", status="304 Not Modified")),
    (Reason.HTTP_STATUS, lambda answer, photo: answer(photo, status="300 Multiple Choices")),
    (Reason.EMPTY_BODY, lambda answer, photo: answer(b"", status="204 No Content")),
    (Reason.EMPTY_BODY, lambda answer, photo: answer(b"", "Content-Type: image/jpeg")),
    (Reason.OPT_OUT, lambda answer, photo: answer(photo, "X-Robots-Tag: noai")),
    (Reason.OPT_OUT, lambda answer, photo: answer(photo, "X-Robots-Tag: otherbot: all", "x-robots-tag: none")),
    (Reason.OPT_OUT, lambda answer, photo: answer(photo, "X-Robots-Tag: neo-pipelines: noimageai, nofollow")),
    (Reason.TDM_RESERVED, lambda answer, photo: answer(photo, "tdm-reservation: 1", "tdm-policy: https://a.example/p")),
    (Reason.TRAINING_REFUSED, lambda answer, photo: answer(photo, "Content-Usage: search=y, train-ai=n")),
    (Reason.OPT_OUT, lambda answer, photo: answer(photo, "Content-Usage: train-ai=n", "X-Robots-Tag: noai")),
    (Reason.NOT_IMAGE, lambda answer, photo: answer(b"<!doctype html><p>Sign in", "Content-Type: image/jpeg")),
    (Reason.NOT_IMAGE, lambda answer, photo: answer(b"\x00")),
    (Reason.UNDECODABLE, lambda answer, photo: answer(with_broken_tables(photo))),
    (Reason.UNSUPPORTED_FORMAT, lambda answer, photo: answer(b"<?xml version='1.0'?>\n<svg xmlns=''></svg>")),
    (Reason.UNSUPPORTED_FORMAT, lambda answer, photo: answer(b"%PDF-1.7\n")),
    (Reason.UNSUPPORTED_FORMAT, lambda answer, photo: answer(b"\0\0\0\x18ftypheic\0\0\0\0")),
]  # fmt: skip


def six_times(body: bytes) -> bytes:
    for _ in range(6):
        body = gzip.compress(body)
    return body


def with_broken_tables(jpeg: bytes) -> bytes:
    start = jpeg.index(b"\xff\xc4") + 5
    return jpeg[:start] + b"\xff" * 16 + jpeg[start + 16 :]


def redirect(answer: Callable[..., bytes], location: str) -> bytes:
    return answer(b"", f"Location: {location}", status="302 Found")


@pytest.mark.parametrize(("reason", "make"), ANSWERS, ids=[f"{n}-{r.value}" for n, (r, _) in enumerate(ANSWERS)])
def test_a_bad_answer_ends_with_its_reason(
    web: Any, fetch_one: Any, http_answer: Any, photo: bytes, reason: Reason, make: Callable[..., bytes]
) -> None:
    assert fetch_one(web.says("/answer", make(http_answer, photo))) is reason


PICTURES: list[tuple[Reason, Callable[..., bytes]]] = [
    (Reason.ANIMATED, lambda encode: encode(frame(), "GIF", save_all=True, append_images=[frame("white")])),
    (Reason.TOO_MANY_PIXELS, lambda encode: encode(Image.new("1", (1001, 1000)), "PNG")),
    (Reason.TOO_MANY_PIXELS, lambda encode: encode(Image.new("1", (14_000, 14_000)), "PNG")),
    (Reason.TOO_MANY_PIXELS, lambda encode: encode(Image.new("L", (1001, 1000)), "JPEG")),
    (Reason.SIDE_TOO_LONG, lambda encode: encode(Image.new("1", (65_501, 1)), "PNG")),
    (Reason.TRUNCATED, lambda encode: encode(frame(), "PNG")[:-40]),
]


def frame(colour: str = "black") -> Image.Image:
    return Image.effect_noise((64, 64), 90).convert("RGB") if colour == "black" else Image.new("RGB", (64, 64), colour)


@pytest.mark.parametrize(("reason", "make"), PICTURES)
def test_a_bad_picture_ends_with_its_reason(
    web: Any, fetch_one: Any, http_answer: Any, picture: Any, reason: Reason, make: Callable[..., bytes]
) -> None:
    assert fetch_one(web.says("/picture", http_answer(make(picture)))) is reason


GOOD: list[Callable[[bytes], bytes]] = [
    lambda photo: b"HTTP/1.0 200 OK\r\n\r\n" + photo,
    lambda photo: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + photo,
    lambda photo: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(photo),
    lambda photo: b"HTTP/1.1 200 OK\r\ntdm-reservation: 0\r\nContent-Usage: train-ai=y\r\n\r\n" + photo,
    lambda photo: (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-Robots-Tag: otherbot: noai\r\n\r\n" + gzip.compress(photo)
    ),
]


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 700] for start in range(0, len(body), 700)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("make", GOOD)
def test_every_way_to_send_a_body_is_understood(
    web: Any, fetch_one: Any, photo: bytes, make: Callable[[bytes], bytes]
) -> None:
    ended = fetch_one(web.says("/photo", make(photo)))
    assert (ended.size_bytes, ended.width_px, ended.height_px, ended.sent_as) == (len(photo), 96, 64, "JPEG RGB")


def test_redirects_are_followed_ten_times(web: Any, fetch_one: Any, http_answer: Any, photo: bytes) -> None:
    for hop in range(1, 12):
        web.says(f"/{hop}", redirect(http_answer, f"/{hop - 1}"))
    web.says("/0", http_answer(photo))
    assert fetch_one("http://bad.invalid/10").width_px == 96
    assert fetch_one("http://bad.invalid/11") is Reason.REDIRECT_LOOP


def test_a_server_may_send_back_to_the_same_url_once_but_not_for_ever(
    web: Any, fetch_one: Any, http_answer: Any, photo: bytes
) -> None:
    back, whole = redirect(http_answer, "/again"), http_answer(photo)
    web.does("/again", lambda connection, web: connection.sendall(back if web.asked["/again"] == 1 else whole))
    assert fetch_one("http://bad.invalid/again").width_px == 96
    assert fetch_one(web.says("/loop", redirect(http_answer, "/loop"))) is Reason.REDIRECT_LOOP
    assert web.asked["/loop"] == 4


def test_the_body_of_a_redirect_or_an_error_is_not_waited_for(
    web: Any, fetch_one: Any, http_answer: Any, photo: bytes
) -> None:
    web.says("/new", http_answer(photo))
    moved = web.says("/old", http_answer(b"half", "Location: /new", status="302 Found", length=9999))
    assert fetch_one(moved).width_px == 96
    assert fetch_one(web.says("/gone", http_answer(b"half", status="404 Gone", length=9999))) is Reason.NOT_FOUND


CODED: list[Callable[..., bytes]] = [
    lambda answer, photo: answer(photo, "Content-Encoding: aws-chunked"),
    lambda answer, photo: answer(photo, "Content-Encoding: gzip"),
    lambda answer, photo: answer(photo, "Content-Encoding: br"),
    lambda answer, photo: answer(photo, "Content-Encoding: deflate"),
    lambda answer, photo: answer(gzip.compress(photo), "Content-Encoding: ", "Content-Encoding: gzip"),
    lambda answer, photo: answer(gzip.compress(photo), "Content-Encoding: UTF-8, X-GZIP"),
    lambda answer, photo: answer(gzip.compress(gzip.compress(photo)), "Content-Encoding: gzip, gzip"),
    lambda answer, photo: answer(gzip.compress(zlib.compress(photo)), "Content-Encoding: deflate, gzip"),
    lambda answer, photo: answer(zlib.compress(photo, wbits=-15), "Content-Encoding: deflate"),
    lambda answer, photo: answer(gzip.compress(photo[:99]) + gzip.compress(photo[99:]), "Content-Encoding: gzip"),
    lambda answer, photo: answer(gzip.compress(photo) + b"\0" * 9, "Content-Encoding: gzip"),
]


@pytest.mark.parametrize("make", CODED)
def test_the_bytes_say_whether_they_are_coded(
    web: Any, fetch_one: Any, http_answer: Any, photo: bytes, make: Callable[..., bytes]
) -> None:
    assert fetch_one(web.says("/coded", make(http_answer, photo))).size_bytes == len(photo)


def test_a_location_may_be_spelled_in_utf_8(web: Any, fetch_one: Any, http_answer: Any, photo: bytes) -> None:
    web.says("/caf%C3%A9", http_answer(photo))
    web.says("/old", "HTTP/1.1 302 Found\r\nLocation: /café\r\nContent-Length: 0\r\n\r\n".encode())
    assert fetch_one("http://bad.invalid/old").width_px == 96


def test_another_try_is_made_where_it_may_help_and_not_before_the_server_likes(
    web: Any, fetch_one: Any, http_answer: Any, photo: bytes
) -> None:
    busy, whole = http_answer(b"", "Retry-After: 1", status="503 Busy"), http_answer(photo)

    def busy_once(connection: socket.socket, web: Any) -> None:
        connection.sendall(busy if web.asked["/busy"] == 1 else whole)

    url = web.does("/busy", busy_once)
    missing = web.says("/missing", http_answer(b"", status="404 Not Found"))
    started = time.monotonic()
    assert fetch_one(url, num_tries=2).width_px == 96
    assert time.monotonic() - started >= 1.0
    assert fetch_one(missing, num_tries=2) is Reason.NOT_FOUND
    assert web.asked == {"/busy": 2, "/missing": 1}


def test_the_request_keeps_the_host_and_says_who_asks(web: Any, fetch_one: Any, http_answer: Any, photo: bytes) -> None:
    fetch_one(web.says("/photo", http_answer(photo)))
    lines = web.requests["/photo"].split(b"\r\n")
    assert lines[:2] == [b"GET /photo HTTP/1.1", b"Host: bad.invalid"]
    assert any(line.lower().startswith(b"user-agent:") and b"neo-pipelines" in line for line in lines)
    assert b"Accept-Encoding: identity" in lines
    (accept,) = (line for line in lines if line.startswith(b"Accept: "))
    wanted = [part for part in accept.decode().removeprefix("Accept: ").split(",") if "q=" not in part]
    assert wanted == [f"image/{name.lower()}" for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    assert sorted(wanted) == sorted(f"image/{name.lower()}" for name in FORMATS)


def test_a_closed_port_is_a_connect_error(tmp_path: Path, engine: FetchEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        routes = {"gone.invalid": closed.getsockname()}
    task = FetchTask(urls=["http://gone.invalid/"], routes=routes, limits=LIMITS, scratch=tmp_path)
    assert fetch_part(task, RULE, lambda _: None, engine).outcomes == [Reason.CONNECT_ERROR]


def test_a_bad_handshake_is_a_tls_error(web: Any) -> None:
    web.does("/", lambda connection, _: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(RowError) as caught:
        targets = [("127.0.0.1", web.port)]
        get_once(parse_address("https://bad.invalid/"), targets, [], Deadline.after(5), BodyCap(MAX_IMAGE_BYTES))
    assert caught.value.reason is Reason.TLS_ERROR
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_an_error_of_our_own_costs_one_row_and_is_told(
    web: Any, http_answer: Any, photo: bytes, engine: FetchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: PictureJudge, data: bytes) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(PictureJudge, "__call__", stumble)
    urls = [web.says("/photo", http_answer(photo)), web.says("/missing", http_answer(b"", status="404 Not Found"))]
    done = fetched(web, urls, tmp_path, engine=engine)
    assert done.outcomes == [Reason.UNEXPLAINED, Reason.NOT_FOUND]
    assert done.remarks == ["RuntimeError: nobody foresaw this"]


def test_a_url_that_the_engine_does_not_deliver_is_unexplained(web: Any, tmp_path: Path) -> None:
    def deliver_last_only(task: FetchTask, deliver: Callable[..., None]) -> None:
        deliver(len(task.urls) - 1, FetchFailure(Reason.NOT_FOUND), UsageTerms())

    done = fetched(web, ["http://bad.invalid/a", "http://bad.invalid/b"], tmp_path, engine=deliver_last_only)
    assert done.outcomes == [Reason.UNEXPLAINED, Reason.NOT_FOUND]


def test_an_engine_gives_bodies_and_failures_and_pictures_are_judged_here(
    web: Any, photo: bytes, tmp_path: Path
) -> None:
    """All that a second engine has to do."""
    responses = [photo, b"<!doctype html>", FetchFailure(Reason.TIMEOUT), FetchFailure(Reason.UNEXPLAINED, "broke")]

    def backwards(task: FetchTask, deliver: Callable[..., None]) -> None:
        for number in reversed(range(len(task.urls))):
            deliver(number, responses[number], UsageTerms())

    done = fetched(web, [f"http://bad.invalid/{number}" for number in range(4)], tmp_path, engine=backwards)
    assert done.outcomes[0].size_bytes == len(photo)
    assert done.outcomes[1:] == [Reason.NOT_IMAGE, Reason.TIMEOUT, Reason.UNEXPLAINED]
    assert done.remarks == ["broke"]


def test_equal_urls_are_given_to_an_engine_once_and_share_their_outcome(web: Any, photo: bytes, tmp_path: Path) -> None:
    given: list[str] = []

    def engine(task: FetchTask, deliver: Callable[..., None]) -> None:
        given.extend(task.urls)
        for number in range(len(task.urls)):
            deliver(number, photo, UsageTerms())

    counted: list[int] = []
    urls = ["http://bad.invalid/a", "http://bad.invalid/b", "http://bad.invalid/a", "http://bad.invalid/a"]
    done = fetched(web, urls, tmp_path, engine=engine, report=counted.append)
    assert given == urls[:2] and done.num_asked == 2 and counted == [3, 4]
    assert done.outcomes[0] is done.outcomes[2] is done.outcomes[3] != done.outcomes[1]
    assert done.spool.stat().st_size == 2 * len(photo)


def test_a_full_disk_fails_the_part_and_no_row(
    web: Any, http_answer: Any, photo: bytes, engine: FetchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "add", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        fetched(web, [web.says("/photo", http_answer(photo))], tmp_path, engine=engine)


def test_pictures_wait_on_scratch_in_any_order(
    web: Any, http_answer: Any, picture: Any, tmp_path: Path, engine: FetchEngine
) -> None:
    bodies = [picture(Image.effect_noise((40 + n, 40), 50).convert("RGB")) for n in range(60)]
    urls = [web.says(f"/{n}", http_answer(body)) for n, body in enumerate(bodies)]
    counted: list[int] = []
    done = fetched(web, urls, tmp_path, report=counted.append, engine=engine)
    spool = done.spool.read_bytes()
    assert [spool[item.offset : item.offset + item.size_bytes] for item in done.outcomes] == bodies
    assert counted == list(range(1, 61))


def test_every_reason_is_reached_by_a_test() -> None:
    """The lists above, and those that have tests of their own here, in test_address.py, test_url_rows.py,
    test_fault_table.py, manners/test_robots.py and tests/pipelines/commands/test_takedown.py."""
    reached = {reason for reason, _ in [*ANSWERS, *PICTURES]} | set(SCRIPTS)
    reached |= {Reason.CONNECT_ERROR, Reason.TLS_ERROR, Reason.UNEXPLAINED}
    reached |= {Reason.URL_FORBIDDEN_ADDRESS, Reason.HOST_UNKNOWN, Reason.DNS_ERROR}
    reached |= {Reason.SCHEMA, Reason.CAPTION_ENCODING, Reason.URL_MALFORMED, Reason.URL_SCHEME, Reason.REPEATED_ROW}
    reached |= {Reason.MALFORMED_ROW, Reason.ROBOTS_DISALLOWED, Reason.ROBOTS_UNREACHABLE}
    reached |= {Reason.HASH_MISMATCH, Reason.HASH_UNREADABLE, Reason.TAKEN_DOWN}
    assert reached == set(Reason)
