"""What urllib and curl both get, we get, and all engines get the same: every odd answer here is given to all."""

import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from stages.download.engines import event_loop
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.http.http_client import HttpClient
from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes
from tests.stages.download.conftest import encoded

PHOTO = encoded(Image.effect_noise((96, 64), 60).convert("RGB"), quality=90)
LENGTH = f"Content-Length: {len(PHOTO)}"
CHUNKED = "Transfer-Encoding: chunked"
HOST = "img.test"
LIMITS = FetchLimits(deadline_seconds=10.0, num_tries=1, max_body_bytes=1_000_000, max_requests_per_host=2)


def said(*headers: str | bytes, status: str = "HTTP/1.1 200 OK", body: bytes = PHOTO, end: bytes = b"\r\n") -> bytes:
    lines = [line if isinstance(line, bytes) else line.encode() for line in (status, *headers, "", "")]
    return end.join(lines) + body


def in_chunks(size: str = "%x", *, end: bytes = b"0\r\n\r\n", line_end: bytes = b"\r\n") -> bytes:
    pieces = [PHOTO[start : start + 700] for start in range(0, len(PHOTO), 700)]
    return b"".join((size % len(piece)).encode() + line_end + piece + line_end for piece in pieces) + end


def moved(location: str | bytes, *headers: str, status: int = 302, body: bytes = b"") -> bytes:
    location = location if isinstance(location, bytes) else location.encode()
    return said(b"Location:" + location, *headers, "Content-Length: 0", status=f"HTTP/1.1 {status} Moved", body=body)


WITH_LENGTH: dict[str, list[str | bytes]] = {
    "plain": [LENGTH],
    "a line without a colon": ['X-Frame-Options="ALLOW-FORM"', LENGTH],
    "a blank before the colon": ["Server : x", LENGTH],
    "a length with a blank before the colon": [f"Content-Length : {len(PHOTO)}"],
    "the same length twice": [LENGTH, LENGTH],
    "the same length twice in a line": [f"Content-Length: {len(PHOTO)}, {len(PHOTO)}"],
    "a length and more": [f"Content-Length: {len(PHOTO)}; bytes"],
    "a length with a sign": [f"Content-Length: +{len(PHOTO)}"],
    "a length with zeros": [f"Content-Length: 000{len(PHOTO)}"],
    "a length that is none": ["Content-Length: unknown"],
    "no length": [],
    "the identity of transfer": ["Transfer-Encoding: identity", LENGTH],
    "the identity of transfer without a length": ["Transfer-Encoding: identity"],
    "no transfer": ["Transfer-Encoding: ", LENGTH],
    "continued lines": ["X-A: b", "  c", "\td", LENGTH],
    "bytes beyond ASCII": [b"X-N: caf\xe9 \xff", b"X-\xe9: a", LENGTH],
    "control characters": [b"X-N: a\x01\x0bb", b"X-M: a\rb", LENGTH],
    "no name": [": a", ":", LENGTH],
    "odd names": ["X Foo: a", '"X": a', "(y): {}", "a@b: c", LENGTH],
    "no blanks": [f"content-length:{len(PHOTO)}"],
    "many headers": [*(f"X-{number}: y" for number in range(95)), LENGTH],
    "long headers": [*["X: " + "y" * 60_000] * 4, LENGTH],
    "an upgrade": ["Upgrade: h2,h2c", "Connection: Upgrade, close", LENGTH],
    "a connection that is kept": ["Connection: keep-alive", LENGTH],
    "carriage returns": ["A: b\r", f"{LENGTH}\r"],
    "a coding that is not there": ["Content-Encoding: gzip", LENGTH],
    "a coding that nobody has": ["Content-Encoding: br", LENGTH],
    "a coding by the name of none": ["Content-Encoding: none", LENGTH],
    "a character set": ["Content-Encoding: UTF-8", LENGTH],
    "a refresh": ["Refresh: 0; url=/nowhere", LENGTH],
}
STATUS_LINES = ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1  200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 200 \xe9"]
SUCCESSES = [200, 201, 202, 203, 205, 206, 207, 208, 218, 226, 250, 299]
CHUNKS: dict[str, tuple[str, bytes]] = {
    "chunks": (CHUNKED, in_chunks()),
    "chunks in upper case": ("Transfer-Encoding: CHUNKED", in_chunks("%X")),
    "chunks, said twice": (f"{CHUNKED}\r\n{CHUNKED}", in_chunks()),
    "chunks and a length": (f"{CHUNKED}\r\n{LENGTH}", in_chunks()),
    "chunks with extensions": (CHUNKED, in_chunks("%x;a=b")),
    "chunks with blanks": (CHUNKED, in_chunks("%x  ")),
    "chunks with zeros": (CHUNKED, in_chunks("%08x")),
    "chunks with a trailer": (CHUNKED, in_chunks(end=b"0\r\nX-T: y\r\n\r\n")),
}
LOCATIONS: list[str | bytes] = [
    " /plain", "/plain", "\t/plain", "  /plain  ", " plain", " ./plain", " ../plain", " /plain?x=1", " /plain#x",
    " /a b", ' /a"b', " /a{b}", " /a|b", " /a%b", " /a%20b", " /café", b" /caf\xe9",
]  # fmt: skip
SAID: dict[str, bytes] = {
    **{name: said(*headers) for name, headers in WITH_LENGTH.items()},
    **{f"status line {line!r}": said(LENGTH, status=line) for line in STATUS_LINES},
    **{f"status {status}": said(LENGTH, status=f"HTTP/1.1 {status} X") for status in SUCCESSES},
    **{name: said(header, body=body) for name, (header, body) in CHUNKS.items()},
    "line feeds alone": said(LENGTH, end=b"\n"),
    "more than the length": said(LENGTH, body=PHOTO + b"more"),
    "no headers": said(),
    "informed before": said(status="HTTP/1.1 100 Continue", body=b"") * 3 + said(LENGTH),
    "hinted before": said("Link: a", status="HTTP/1.1 103 Early Hints", body=b"") + said(LENGTH),
    **{f"moved by {status}": moved("/plain", status=status) for status in (301, 302, 303, 307, 308)},
    **{f"moved to {location!r}": moved(location) for location in LOCATIONS},
    "moved to two places": moved(" /plain", "Location: /nowhere"),
    "moved without a length": b"HTTP/1.1 302 Found\r\nLocation: /plain\r\n\r\n",
    **{f"hop {hop}": moved(f" /{'plain' if hop == 1 else f'hop%20{hop - 1}'}") for hop in range(1, 11)},
}
SHOWN = ["/plain", "/a%20b", "/a b", "/a%22b", '/a"b', "/a%7Bb%7D", "/a{b}", "/a|b", "/a%b", "/caf%C3%A9", "/caf%E9"]
"""Paths of the photo, as clients may spell the locations above."""


def path_of(name: str) -> str:
    return "/" + urllib.request.pathname2url(name)


class Server:
    """Answers each path with the very bytes of its name, then closes."""

    def __init__(self, listener: socket.socket) -> None:
        self.place = listener.getsockname()
        self._listener = listener
        self._said = {path_of(name): answer for name, answer in SAID.items()} | dict.fromkeys(SHOWN, said(LENGTH))
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, name: str, host: str = "") -> str:
        return f"http://{host or '{}:{}'.format(*self.place)}{path_of(name)}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self._listener.accept()[:1], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, IndexError):
            connection.settimeout(10)
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(65_536)
            path = asked.split(b" ")[1].decode("latin-1").partition("?")[0]
            connection.sendall(self._said.get(path, said("Content-Length: 0", status="HTTP/1.1 404 No", body=b"")))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield Server(listener)


@pytest.fixture(scope="module")
def got_by_both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the answers of which both clients get the photo."""
    return got_by_urllib(server) & got_by_curl(server, tmp_path_factory.mktemp("curl"))


def got_by_urllib(server: Server) -> set[str]:
    got = set()
    for name in SAID:
        with suppress(OSError, ValueError, urllib.request.http.client.HTTPException):
            with urllib.request.urlopen(server.url(name), timeout=10) as response:
                got |= {name} if response.read() == PHOTO else set()
    return got


def got_by_curl(server: Server, folder: Path) -> set[str]:
    """All names where curl is not there to ask."""
    if shutil.which("curl") is None:
        return set(SAID)
    command = ["curl", "-sL", "--globoff", "--max-time", "10", "-H", "Connection: close", "-w", "%{exitcode}\\n"]
    for number, name in enumerate(SAID):
        command += ["-o", str(folder / f"{number}"), server.url(name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    files = [folder / f"{number}" for number in range(len(SAID))]
    return {
        name
        for name, code, file in zip(SAID, done, files, strict=True)
        if code == "0" and file.is_file() and file.read_bytes() == PHOTO
    }


def get_by_sockets(routes: Routes, url: str) -> bytes | Reason:
    client = HttpClient(routes, num_tries=1, max_body_bytes=LIMITS.max_body_bytes)
    try:
        return client.get(url, [], LIMITS.deadline_seconds).body
    except RowError as error:
        return error.reason
    finally:
        client.close()


def get_by_event_loop(routes: Routes, url: str) -> bytes | Reason:
    """The same URL three times, so that a connection is kept where it may be."""
    ends: list[bytes | FetchFailure] = []
    task = FetchTask(urls=[url] * 3, routes=routes, limits=LIMITS, scratch=Path())
    event_loop.fetch(task, lambda _, end, __: ends.append(end))
    assert len(ends) == 3 and len(set(ends)) == 1
    return ends[0].reason if isinstance(ends[0], FetchFailure) else ends[0]


@pytest.mark.parametrize("name", SAID)
def test_what_urllib_and_curl_get_we_get(server: Server, got_by_both: set[str], name: str) -> None:
    for get in (get_by_sockets, get_by_event_loop):
        got = get({HOST: server.place}, server.url(name, HOST))
        assert got == PHOTO or (name not in got_by_both and isinstance(got, Reason)), got


@pytest.mark.parametrize("name", SAID)
def test_all_engines_get_the_same(server: Server, name: str) -> None:
    asked = {HOST: server.place}, server.url(name, HOST)
    assert get_by_sockets(*asked) == get_by_event_loop(*asked)


def test_the_witnesses_get_most_of_them(got_by_both: set[str]) -> None:
    assert len(got_by_both) > 0.8 * len(SAID), sorted(SAID.keys() - got_by_both)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(f"Content-Length: {len(PHOTO) + 1}"), Reason.CUT_SHORT),
        (said(CHUNKED, body=in_chunks(end=b"")), Reason.CUT_SHORT),
        (said(LENGTH, f"Content-Length: {len(PHOTO) + 1}"), Reason.BAD_RESPONSE),
        (said(CHUNKED, body=in_chunks("-%x")), Reason.BAD_RESPONSE),
        (said(CHUNKED, body=in_chunks(line_end=b"x\r\n")), Reason.BAD_RESPONSE),
        (said(CHUNKED, body=b"f" * 400 + b"\r\n"), Reason.BAD_RESPONSE),
        (said(f"Content-Length: {'9' * 5000}"), Reason.TOO_LARGE),
        (said(CHUNKED, body=b"ffffffff\r\n"), Reason.TOO_LARGE),
        (b"", Reason.CUT_SHORT),
        (b"\r\n" * 200_000, Reason.BAD_RESPONSE),
        (said(*[f"X: {'y' * 60_000}"] * 6, LENGTH), Reason.BAD_RESPONSE),
        (said(status="HTTP/1.1 100 Continue", body=b"") * 20_000, Reason.BAD_RESPONSE),
        (b"ICY 200 OK\r\n\r\n", Reason.BAD_RESPONSE),
    ],
)  # fmt: skip
def test_what_nobody_gets_has_its_reason(web: object, answer: bytes, reason: Reason) -> None:
    url = web.says("/answer", answer)
    assert get_by_sockets(web.routes, url) is reason
    assert get_by_event_loop(web.routes, url) is reason
