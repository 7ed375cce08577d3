"""Bodies that go into files: in order, bounded in number and size, refused for the reasons of any other body."""

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from stages.contract import StageError
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.file_fetching import NUM_AT_ONCE, fetch_files
from stages.download.http.http_message import BodyCap, Wire
from stages.download.reasons import Reason

MAX_BYTES = 300_000


def task_of(web: Any, urls: list[str], scratch: Path, num_tries: int = 1) -> FetchTask:
    limits = FetchLimits(deadline_seconds=5.0, num_tries=num_tries, max_body_bytes=MAX_BYTES)
    return FetchTask(urls=urls, routes=web.routes, limits=limits, scratch=scratch)


def ends_of(fetched: Iterator[Path | FetchFailure]) -> list[bytes | Reason]:
    return [one.reason if isinstance(one, FetchFailure) else one.read_bytes() for one in fetched]


def chunked(*chunks: bytes) -> bytes:
    spelled = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + spelled


def test_each_url_ends_with_its_file_or_its_reason(web: Any, http_answer: Callable[..., bytes], tmp_path: Path) -> None:
    large = bytes(range(256)) * 800
    ends = {
        web.says("/large", http_answer(large)): large,
        web.says("/chunked", chunked(large[:70_000], large[70_000:])): large,
        web.says("/open_end", b"HTTP/1.1 200 OK\r\n\r\n" + large): large,
        web.says("/gone", http_answer(b"", status="404 Gone")): Reason.NOT_FOUND,
        web.says("/empty", http_answer(b"")): Reason.EMPTY_BODY,
        web.says("/short", http_answer(large, length=len(large) + 1)): Reason.CUT_SHORT,
        web.says("/announced", http_answer(b"x", length=MAX_BYTES + 1)): Reason.TOO_LARGE,
        web.says("/endless", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BYTES * 2)): Reason.TOO_LARGE,
        web.says("/chunks", chunked(*[large] * 3)): Reason.TOO_LARGE,
        web.says("/coded", http_answer(gzip.compress(large), "Content-Encoding: gzip")): Reason.BAD_ENCODING,
        web.says("/opted_out", http_answer(large, "X-Robots-Tag: noai")): Reason.OPT_OUT,
    }
    assert ends_of(fetch_files(task_of(web, list(ends), tmp_path))) == list(ends.values())
    assert list(tmp_path.iterdir()) == []
    assert b"Accept: */*" in web.requests["/large"]


def test_few_files_are_on_disk_at_once(web: Any, http_answer: Callable[..., bytes], tmp_path: Path) -> None:
    urls = [web.says(f"/{number}", http_answer(b"a film %d" % number)) for number in range(3 * NUM_AT_ONCE)]
    for number, one in enumerate(fetch_files(task_of(web, urls, tmp_path))):
        assert isinstance(one, Path)
        assert one.read_bytes() == b"a film %d" % number
        assert len(list(tmp_path.iterdir())) <= NUM_AT_ONCE


def test_requests_end_soon_after_the_work(web: Any, tmp_path: Path) -> None:
    def trickle(connection: socket.socket, web: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not web.closing.wait(0.05):
            connection.sendall(b"x")

    def at_once(connection: socket.socket, web: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    fetched = fetch_files(task_of(web, [web.does("/whole", at_once), web.does("/trickle", trickle)], tmp_path))
    next(fetched)
    started = time.monotonic()
    fetched.close()
    assert time.monotonic() - started < 3.0  # the deadline of a request is 5 seconds


def test_a_second_try_begins_the_file_again(web: Any, http_answer: Callable[..., bytes], tmp_path: Path) -> None:
    def cut_then_whole(connection: socket.socket, web: Any) -> None:
        whole = http_answer(b"0123456789")
        connection.sendall(whole[:-5] if web.asked["/"] == 1 else whole)

    url = web.does("/", cut_then_whole)
    assert ends_of(fetch_files(task_of(web, [url], tmp_path, num_tries=2))) == [b"0123456789"]


def test_a_full_disk_is_not_taken_for_a_broken_connection() -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    full: BinaryIO = Full()  # type: ignore[assignment]
    copying = Wire(BodyCap(MAX_BYTES)).copy(4, full)
    next(copying)
    with pytest.raises(StageError, match="No space left"):
        copying.send(b"body")
