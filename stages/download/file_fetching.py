"""Fetches URLs into files, for bodies that are too large to be held in memory, such as videos.

Files are handed over in the order of the URLs while the next ones are on their way. At most `NUM_AT_ONCE` files are on
disk at a time, so scratch is bounded by that number times the largest body, whatever the length of the list.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from stages.contract import StageError
from stages.download.engines.interface import USER_AGENT, FetchFailure, FetchTask
from stages.download.http.http_client import HttpClient
from stages.download.reasons import Reason, RowError

NUM_AT_ONCE: Final = 6
"""Files that are fetched, or wait to be used, at once."""


def fetch_files(task: FetchTask) -> Generator[Path | FetchFailure]:
    """The file of each URL in order, or why there is none. A file is removed when the next one is asked for.

    Raises `StageError` where scratch cannot hold a file.
    """
    limits = task.limits
    client = HttpClient(
        task.routes,
        num_tries=limits.num_tries,
        max_body_bytes=limits.max_body_bytes,
        allow_hosts=limits.allow_hosts,
        manners=limits.manners,
    )
    with closing(client), ThreadPoolExecutor(NUM_AT_ONCE, thread_name_prefix="fetch") as threads:
        yield from _in_order(task, client, threads)


class _Sink(io.FileIO):
    """A file that takes no more bytes once the work is over, so that no request outlives it for long."""

    def __init__(self, path: Path, is_over: threading.Event) -> None:
        super().__init__(path, "wb")
        self._is_over = is_over

    def write(self, data: Any) -> int:
        """Write all of `data`. Raises `StageError` when the work is over."""
        if self._is_over.is_set():
            raise StageError("the part that fetched this file has ended")
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)


def _in_order(task: FetchTask, client: HttpClient, threads: ThreadPoolExecutor) -> Generator[Path | FetchFailure]:
    paths = [task.scratch / f"body_{number}" for number in range(len(task.urls))]
    waiting: dict[int, Future[FetchFailure | None]] = {}
    is_over = threading.Event()

    def ask(number: int) -> None:
        if number < len(paths):
            waiting[number] = threads.submit(_fetch, client, task, task.urls[number], paths[number], is_over)

    try:
        for number in range(NUM_AT_ONCE):
            ask(number)
        for number, path in enumerate(paths):
            failure = waiting.pop(number).result()
            try:
                yield path if failure is None else failure
            finally:
                path.unlink(missing_ok=True)
            ask(number + NUM_AT_ONCE)
    finally:
        is_over.set()
        for one in waiting.values():
            one.cancel()


def _fetch(client: HttpClient, task: FetchTask, url: str, path: Path, is_over: threading.Event) -> FetchFailure | None:
    """Fetch one URL into a file; None where it is there."""
    with _Sink(path, is_over) as sink:
        try:
            client.get(url, [("User-Agent", USER_AGENT)], task.limits.deadline_seconds, cast("BinaryIO", sink))
        except RowError as error:
            sink.truncate(0)
            return FetchFailure(error.reason)
        except StageError:
            raise
        except Exception as error:  # one server that breaks the client must not fail the part
            sink.truncate(0)
            return FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}")
    return None
