"""A checkpoint's way into the store while training continues.

Owns the thread that writes, uploads and records, and the agreement of the ranks on how far they are: first every rank
uploads its files, then rank 0 records them all, and from one to the next all ranks go at the same step. Whether each
is ready travels with the all-reduce that a step needs anyway (`collectives.Share`). At most one is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from stages.contract import FileEntry
from stages.store.fault_points import fault_point
from stages.training.collectives import results_of_all

Files: TypeAlias = Sequence[FileEntry]


@dataclass(frozen=True)
class _UnderWay:
    """One checkpoint, as one rank sees it."""

    what: str
    work: Future[Files]
    record: Callable[[Files], object] | None
    """What rank 0 does with the files of all ranks once they are there; None once that is under way."""


class Committing:
    """The checkpoint that is on its way, if there is one. Waits for nothing when it is left by an error."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._under_way: _UnderWay | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def __enter__(self) -> Committing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=error is None, cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether this rank has done, or failed to do, its part in what is under way; also where nothing is."""
        return self._under_way is None or self._under_way.work.done()

    def begin(self, what: str, upload: Callable[[], Files], record: Callable[[Files], object]) -> None:
        """Let every rank `upload` its files, and rank 0 `record` them then; `what` says in errors what that is."""
        assert self._under_way is None, "one checkpoint at a time"
        self._under_way = _UnderWay(what, self._thread.submit(upload), record)

    def go_on(self) -> None:
        """Take what is under way one step further, every rank being ready, or waiting for it. Collective.

        Raises on every rank what the work of any came to.
        """
        if self._under_way is None:
            return
        now, self._under_way = self._under_way, None
        if now.record is None:
            results_of_all(now.work.result, now.what)
            return
        with fault_point("checkpoint.gathered", now.what):
            files = [entry for held in results_of_all(now.work.result, now.what) for entry in held]
        self._under_way = _UnderWay(now.what, self._thread.submit(self._recorded, now.record, files), None)

    def finish(self) -> None:
        """Wait until nothing is under way any more. Collective."""
        while self._under_way is not None:
            self.go_on()

    def _recorded(self, record: Callable[[Files], object], files: Files) -> Files:
        if self._rank == 0:
            record(files)
        return ()
