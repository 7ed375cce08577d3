"""The checkpoint in flight: uploaded and recorded by a thread while training continues.

Owns the thread, and the agreement of the ranks on its two phases: every rank uploads its files, then rank 0 records
them all. All ranks change phase at the same step: whether each is ready is part of the all-reduce that a step needs
anyway (`collectives.StepTotals.num_ready`). At most one checkpoint is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from stages.contract import FileEntry
from stages.store.fault_points import fault_point
from stages.training.collectives import SharedError, run_on_all

Files: TypeAlias = Sequence[FileEntry]


@dataclass(frozen=True)
class _Phase:
    """Upload or recording of one checkpoint, on one rank."""

    what: str
    work: Future[Files]
    record: Callable[[Files], object] | None
    """What rank 0 does with the files of all ranks after the upload; None while recording."""


class CheckpointInFlight:
    """At most one checkpoint in flight. Left by an error, it cancels what has not begun and does not wait."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._phase: _Phase | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def __enter__(self) -> CheckpointInFlight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=error is None, cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether this rank waits for nothing: its part succeeded or failed, or nothing is in flight."""
        return self._phase is None or self._phase.work.done()

    def begin(self, what: str, upload: Callable[[], Files], record: Callable[[Files], object]) -> None:
        """Start `upload` on every rank; then rank 0 calls `record` with all files. `what` begins errors."""
        assert self._phase is None, "one checkpoint at a time"
        self._phase = _Phase(what, self._thread.submit(upload), record)

    def advance(self) -> None:
        """Finish the current phase and start the next, waiting where a rank is not ready. Collective.

        Raises on every rank what failed on any.
        """
        if self._phase is None:
            return
        phase, self._phase = self._phase, None
        if phase.record is None:
            run_on_all(phase.work.result, phase.what)
            return
        with fault_point("checkpoint.gathered", phase.what):
            files = [entry for uploaded in run_on_all(phase.work.result, phase.what) for entry in uploaded]
        self._phase = _Phase(phase.what, self._thread.submit(self._recorded, phase.record, files), None)

    def finish(self) -> None:
        """Wait until nothing is in flight. Collective."""
        while self._phase is not None:
            self.advance()

    @contextmanager
    def finished_on_shared_error(self) -> Iterator[None]:
        """Commit what is in flight where the block raises `SharedError`. Collective then.

        All ranks raise a `SharedError` at the same call, so they can still finish together; after any other error a
        rank cannot know whether the others would join.
        """
        try:
            yield
        except SharedError:
            self.finish()
            raise

    def _recorded(self, record: Callable[[Files], object], files: Files) -> Files:
        if self._rank == 0:
            record(files)
        return ()
