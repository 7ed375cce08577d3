"""Mutated answers of servers end in a verdict of the closed list, by the deadline, in bounded memory.

Between them stand plain answers, on the same host and often on the same connections: each of these must arrive, as
itself, or time out where the machine is busy. `answers/` keeps what once went wrong, byte for byte. A mutation is seen
by `mutated_answer(NUMBER)`.
"""

import asyncio
import json
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.download.engines import event_loop
from stages.download.engines.exchanges import Exchanges
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.http.fetch_steps import Ask
from stages.download.http.http_client import HttpClient
from stages.download.http.http_message import HttpResponse
from stages.download.judge_picture import PictureJudge
from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason, RowError
from tests.worlds.mutated_answers import CAP_BYTES, Answer, Ending, mutated_answer, photo

ROOT = Path(__file__).parents[4]
HOST = "fuzz.invalid"
DEADLINE_SECONDS = 4.0
SLACK_SECONDS = 30.0
"""How much later than its deadline a request may end on a machine that is busy."""
PLAIN_EACH = 5
"""After so many mutations comes a plain answer."""
LIMITS = FetchLimits(deadline_seconds=DEADLINE_SECONDS, num_tries=2, max_body_bytes=CAP_BYTES, max_requests_per_host=32)
PATIENT = replace(LIMITS, deadline_seconds=60.0)
KEPT = "kept"


class MutatingServer:
    """Answers `/N` by mutation N, `/plain/N` by a picture that ends in N, and `/photo` by the picture."""

    def __init__(self, answers: dict[int, Answer] | None = None) -> None:
        self._answers = answers
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.place = ("", 0)
        threading.Thread(target=self._run, daemon=True).start()
        self._started.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=512))
        self.place = server.sockets[0].getsockname()
        self._started.set()
        self._loop.run_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ")[1].decode("latin-1")
                if not await self._answer(path, writer):
                    break
        writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection serves another one."""
        word = path.rpartition("/")[2]
        if not word.isdigit() or path.startswith("/plain/"):
            body = photo() + word.encode() if word != "gone" else b""
            status = b"404 Gone" if word == "gone" else b"200 OK"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
            await writer.drain()
            return True
        answer = self._answers[int(word)] if self._answers is not None else mutated_answer(int(word))
        size = -(-len(answer.data) // answer.num_pieces) or 1
        for start in range(0, len(answer.data), size):
            writer.write(answer.data[start : start + size])
            await writer.drain()
            if answer.num_pieces > 1:
                await asyncio.sleep(0.01)
        return await _end(answer.ending, writer)


async def _end(ending: Ending, writer: asyncio.StreamWriter) -> bool:
    match ending:
        case Ending.KEEP:
            return True
        case Ending.RESET:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case Ending.SILENCE | Ending.DRIP | Ending.FLOOD:
            while not writer.is_closing():
                if ending is not Ending.SILENCE:
                    writer.write(b"x" if ending is Ending.DRIP else bytes(65_536))
                    await writer.drain()
                await asyncio.sleep(0.1 if ending is not Ending.FLOOD else 0.001)
    return False


def verdict_of(end: bytes | FetchFailure, judge: PictureJudge) -> str:
    if isinstance(end, FetchFailure):
        return end.reason.value if not end.remark else f"{end.reason.value}: {end.remark}"
    try:
        judge(end)
    except RowError as error:
        return error.reason.value
    return KEPT


def verdicts(
    paths: list[str], server: MutatingServer, limits: FetchLimits = LIMITS
) -> tuple[list[str], dict[str, bytes]]:
    """How each path ended, and the bodies of the plain ones."""
    urls = [f"http://{HOST}{path}" for path in paths]
    judge = PictureJudge(PictureRecipe().picture_rule)
    ends: dict[int, str] = {}
    plain: dict[str, bytes] = {}

    def deliver(number: int, end: bytes | FetchFailure, _: object) -> None:
        assert number not in ends, f"{paths[number]} was delivered twice"
        ends[number] = verdict_of(end, judge)
        if paths[number].startswith("/plain/") and isinstance(end, bytes):
            plain[paths[number]] = end

    with tempfile.TemporaryDirectory() as scratch:
        task = FetchTask(urls=urls, routes={HOST: server.place}, limits=limits, scratch=Path(scratch))
        event_loop.fetch(task, deliver)
    return [ends[number] for number in range(len(urls))], plain


@contextmanager
def timed_requests() -> Iterator[list[float]]:
    """Seconds that each request took of the engine, from its connection on."""
    seconds: list[float] = []
    send = Exchanges.send

    async def timed(self: Exchanges, ask: Ask, *, is_kept: bool) -> HttpResponse:
        started = time.monotonic()
        try:
            return await send(self, ask, is_kept=is_kept)
        finally:
            seconds.append(time.monotonic() - started)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchanges, "send", timed)
        yield seconds


def report(first: int, stop: int) -> dict[str, Any]:
    """What became of mutations `first` to `stop`, for a process of its own."""
    server = MutatingServer()
    verdicts(["/plain/0"], server)  # loads what is needed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    paths = []
    for number in range(first, stop):
        paths += [f"/{number}"] + ([f"/plain/{number}"] if number % PLAIN_EACH == 0 else [])
    with timed_requests() as seconds:
        ends, plain = verdicts(paths, server)
    told = {path: end for path, end in zip(paths, ends, strict=True) if not path.startswith("/plain/")}
    return {
        "ends": Counter(told.values()),
        "examples": {end: path for path, end in told.items()},
        "lost": {
            path: end
            for path, end in zip(paths, ends, strict=True)
            if path.startswith("/plain/") and plain.get(path) != photo() + path[7:].encode()
        },
        "num_requests": len(seconds),
        "longest_seconds": max(seconds),
        "wall_seconds": time.monotonic() - started,
        "peak_bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
    }


def check(first: int, stop: int) -> None:
    program = f"import json; from {__name__} import report; print(json.dumps(report({first}, {stop})))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    print(f"mutations {first} to {stop}: {told}")
    assert sum(told["ends"].values()) == stop - first
    assert set(told["ends"]) <= {KEPT, *(reason.value for reason in Reason)} - {"unexplained"}, told["examples"]
    assert {KEPT, "timeout", "cut_short", "bad_response", "too_large", "bad_encoding"} <= set(told["ends"]), told[
        "ends"
    ]
    assert set(told["lost"].values()) <= {"timeout"}, "plain answers between the mutations must arrive as they are"
    assert len(told["lost"]) <= 0.1 * (stop - first) / PLAIN_EACH, "a busy machine may starve a few of them"
    assert told["longest_seconds"] < DEADLINE_SECONDS + SLACK_SECONDS
    assert told["peak_bytes"] < 250_000_000, "bodies that are open at once, each below its cap, and what judges them"


def test_mutated_answers_end_in_a_verdict() -> None:
    check(0, 150)


@pytest.mark.kill
def test_two_thousand_mutated_answers_end_in_a_verdict() -> None:
    check(150, 2150)


def get_by_sockets(server: MutatingServer, url: str) -> bytes | FetchFailure:
    client = HttpClient({HOST: server.place}, num_tries=1, max_body_bytes=CAP_BYTES)
    try:
        return client.get(url, [], PATIENT.deadline_seconds).body
    except RowError as error:
        return FetchFailure(error.reason)
    finally:
        client.close()


def differing(numbers: range) -> dict[int, tuple[str, str]]:
    """Mutations that end otherwise through the client of the other engine; those that wait for a deadline left out."""
    server = MutatingServer()
    judge = PictureJudge(PictureRecipe().picture_rule)
    asked = [n for n in numbers if mutated_answer(n).ending is Ending.CLOSE and mutated_answer(n).num_pieces == 1]
    ours, _ = verdicts([f"/{number}" for number in asked], server, PATIENT)
    theirs = [verdict_of(get_by_sockets(server, f"http://{HOST}/{number}"), judge) for number in asked]
    return {n: (one, other) for n, one, other in zip(asked, ours, theirs, strict=True) if one != other}


def test_both_engines_end_mutated_answers_alike() -> None:
    assert differing(range(120)) == {}


CORPUS = sorted((Path(__file__).parent / "answers").glob("*.bin"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_answers_that_went_wrong_once_do_not_again(path: Path) -> None:
    """A file is named after its verdict: `cut_short-2.bin`."""
    server = MutatingServer({0: Answer(path.read_bytes(), 1, Ending.CLOSE)})
    started = time.process_time()
    ends, _ = verdicts(["/0"], server)
    assert ends == [path.stem.partition("-")[0]]
    assert time.process_time() - started < DEADLINE_SECONDS
