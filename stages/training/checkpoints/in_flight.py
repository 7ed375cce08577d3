"""The checkpoint in flight: uploaded and recorded by a thread while training continues.

Owns the thread, and the agreement of the ranks on its two phases: every rank uploads its files, then rank 0 records
them all. All ranks change phase at the same step: whether each is ready is part of the all-reduce that a step needs
anyway (`collectives.StepTotals.num_ready`). At most one checkpoint is in flight.

A store that does not take it stops nobody at once: the state stays in host memory, training continues, and the ranks
on which it failed try again, until the next checkpoint is due (`finish`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeAlias

from stages.contract import FileEntry, MachineFault, machine_fault
from stages.store.fault_points import fault_point
from stages.training.collectives import SharedError, run_on_all

Files: TypeAlias = Sequence[FileEntry]

PASSING_FAULTS: Final[frozenset[MachineFault]] = frozenset(
    {"store unavailable", "network", "disk full", "access denied", "input/output error"}
)
"""Faults of a store or a disk after which a checkpoint is tried again: they may pass while training continues."""
PAUSE_SECONDS: Final = 10.0
"""Pause before another try, beyond the retries of the store itself, which last up to three minutes."""


@dataclass
class _Checkpoint:
    """One checkpoint in flight, on one rank."""

    what: str
    """Begins errors: that it could not be committed."""
    upload: Callable[[], Files]
    record: Callable[[Files], object]
    delayed: Callable[[str], None]
    """Called on rank 0 with what failed, each time that something did."""
    work: Future[Files]
    """The upload of this rank, then the recording."""
    uploaded: Files | None = None
    """Files of all ranks, once all have uploaded theirs."""
    num_failed: int = 0
    """How often it was tried in vain."""


@dataclass(frozen=True)
class _Outcome:
    """How one try ended on one rank."""

    files: Files = ()
    fault: str = ""
    """Why the store did not take it; '' where it did."""
    gives_up: bool = False
    """Whether it is not tried again after a fault; rank 0 decides."""


class CheckpointInFlight:
    """At most one checkpoint in flight. Left by an error, it cancels what has not begun and does not wait."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._checkpoint: _Checkpoint | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._no_pause = threading.Event()

    def __enter__(self) -> CheckpointInFlight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=error is None, cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether this rank waits for nothing: its part succeeded or failed, or nothing is in flight."""
        return self._checkpoint is None or self._checkpoint.work.done()

    def begin(
        self,
        what: str,
        upload: Callable[[], Files],
        record: Callable[[Files], object],
        delayed: Callable[[str], None],
    ) -> None:
        """Start `upload` on every rank; then rank 0 calls `record` with all files. `what` begins errors.

        Both may be called again after a failure. `delayed` is called on rank 0 with what failed.
        """
        assert self._checkpoint is None, "one checkpoint at a time"
        self._checkpoint = _Checkpoint(what, upload, record, delayed, self._thread.submit(upload))

    def advance(self) -> None:
        """Finish the current phase and start the next, waiting where a rank is not ready. Collective.

        Where the store did not take it, the phase begins again. Raises on every rank what else failed on any.
        """
        self._advance(gives_up=False)

    def finish(self, patience_seconds: float = 0.0) -> None:
        """Wait until nothing is in flight. Collective.

        What the store does not take now is tried once more, and again for `patience_seconds`. Then every rank raises
        `SharedError`.
        """
        until_seconds = time.monotonic() + patience_seconds
        num_failed = 0
        self._no_pause.set()
        try:
            while self._checkpoint is not None:
                has_failed = self._advance(gives_up=num_failed > 0 and time.monotonic() >= until_seconds)
                num_failed += has_failed
                if has_failed and patience_seconds:
                    self._no_pause.clear()
        finally:
            self._no_pause.clear()

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

    def _advance(self, *, gives_up: bool) -> bool:
        """Whether the current phase failed by the store and begins again. Collective."""
        if self._checkpoint is None:
            return False
        checkpoint, self._checkpoint = self._checkpoint, None
        with fault_point("checkpoint.gathered", checkpoint.what) if checkpoint.uploaded is None else nullcontext():
            outcomes = run_on_all(lambda: _outcome(checkpoint.work, gives_up=gives_up), checkpoint.what)
        faults = [f"rank {rank}: {outcome.fault}" for rank, outcome in enumerate(outcomes) if outcome.fault]
        if faults:
            checkpoint.num_failed += 1
            if outcomes[0].gives_up:
                raise SharedError(_given_up(checkpoint, faults))
            self._try_again(checkpoint, outcomes[self._rank], faults)
        elif checkpoint.uploaded is None:
            checkpoint.uploaded = [entry for outcome in outcomes for entry in outcome.files]
            checkpoint.work = self._thread.submit(self._recorded, checkpoint)
        else:
            return False
        self._checkpoint = checkpoint
        return bool(faults)

    def _try_again(self, checkpoint: _Checkpoint, mine: _Outcome, faults: Sequence[str]) -> None:
        """Begin the phase again on the ranks on which it failed."""
        if mine.fault:
            checkpoint.work = self._thread.submit(self._after_pause, checkpoint)
        if self._rank == 0:
            checkpoint.delayed("; ".join(faults))

    def _after_pause(self, checkpoint: _Checkpoint) -> Files:
        self._no_pause.wait(PAUSE_SECONDS)
        return checkpoint.upload() if checkpoint.uploaded is None else self._recorded(checkpoint)

    def _recorded(self, checkpoint: _Checkpoint) -> Files:
        if self._rank == 0:
            assert checkpoint.uploaded is not None, "all ranks have uploaded before"
            checkpoint.record(checkpoint.uploaded)
        return ()


def _outcome(work: Future[Files], *, gives_up: bool) -> _Outcome:
    """How a try ended. Raises what is no fault that passes."""
    try:
        return _Outcome(work.result(), gives_up=gives_up)
    except Exception as error:
        if machine_fault(error) not in PASSING_FAULTS:
            raise
        return _Outcome(fault=f"{type(error).__name__}: {error}", gives_up=gives_up)


def _given_up(checkpoint: _Checkpoint, faults: Sequence[str]) -> str:
    return (
        f"{checkpoint.what}: the store did not take it in {checkpoint.num_failed} tries ({'; '.join(faults)}). "
        "Training continued meanwhile, with the state in memory, and stops now, as it holds one checkpoint at a time. "
        "What was committed before is kept: run the same command again once the store answers"
    )
