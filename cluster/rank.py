"""One rank of a worker group (gang): fulfils `stages.contract.ranks.Rank` over an initialised process group.

Shared by the Ray and the Ray-free backend, which differ only in how they start the processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.checkpoints import CheckpointWriter
from stages.commit.recorded_facts import record_fact, recorded_facts
from stages.commit.run_files import RunFiles
from stages.contract import (
    FileEntry,
    Fork,
    GangLayout,
    NumbersReported,
    PartRecord,
    PictureKept,
    Post,
    StepBusy,
    WarningPosted,
)


def _forget(seconds: float) -> None:
    """For ranks that nobody watches."""


def _long(step: int, seconds: float, max_silent_seconds: float) -> str:
    return (
        f"the checkpoint at step {step} took {seconds:.0f} s to store, more than half of max_silent_seconds = "
        f"{max_silent_seconds:g}: where the next is due before it is stored, ranks wait, and would count as hung; "
        "commit less often, or raise max_silent_seconds in [gang] of the site"
    )


@dataclass
class TimedCheckpoints(CheckpointWriter):
    """Checkpoints that tell how long each took: from the first byte that this rank sent to the commit."""

    took: Callable[[float], None] = _forget
    max_silent_seconds: float = math.inf
    """After how long without a step a rank counts as hung."""
    _began_seconds: float | None = None

    def upload(self, folder: Path, step: int) -> tuple[FileEntry, ...]:
        self._began_seconds = self._began_seconds or time.monotonic()
        return super().upload(folder, step)

    def commit(self, files: Sequence[FileEntry], step: int, facts: Mapping[str, Any]) -> PartRecord:
        record = super().commit(files, step, facts)
        if self._began_seconds is not None:
            seconds = time.monotonic() - self._began_seconds
            self.took(seconds)
            self._began_seconds = None
            if seconds > self.max_silent_seconds / 2:
                self.post(WarningPosted(step=self.writer.step, message=_long(step, seconds, self.max_silent_seconds)))
        return record


@dataclass
class GangRank:
    """A rank that works on one artifact."""

    writer: ArtifactWriter
    layout: GangLayout
    rank: int
    world_size: int
    device: str
    scratch: Path
    post: Post
    stop_asked: Callable[[], bool]
    """Called on rank 0 only, at every optimizer step: it must not block."""

    checkpoint_took: Callable[[float], None] = _forget
    """Told how long each checkpoint took, in seconds. Called on the rank that commits, from any thread."""

    @property
    def artifact(self) -> str:
        return self.writer.folder.rpartition("/")[2]

    @cached_property
    def checkpoints(self) -> CheckpointWriter:
        return TimedCheckpoints(
            self.writer,
            self.post,
            self.world_size,
            took=self.checkpoint_took,
            max_silent_seconds=self.layout.max_silent_seconds,
        )

    @property
    def fork(self) -> Fork | None:
        return self.writer.fork

    def report(self, numbers: Mapping[str, float], at_step: int) -> None:
        self.post(NumbersReported(step=self.writer.step, numbers=dict(numbers), at_step=at_step))

    def busy(self, doing: str) -> None:
        if self.rank == 0:
            self.post(StepBusy(step=self.writer.step, doing=doing))

    def warn(self, message: str) -> None:
        self.post(WarningPosted(step=self.writer.step, message=f"rank {self.rank}: {message}"))

    def keep_picture(self, name: str, png: bytes, at_step: int) -> None:
        key = RunFiles.of(self.writer).keep_picture(f"{name}-{at_step:08d}", png)
        self.post(PictureKept(step=self.writer.step, name=name, key=key, at_step=at_step))

    def keep_log(self, name: str, text: str) -> None:
        RunFiles.of(self.writer).keep_log(name, text)

    def should_stop(self) -> bool:
        return self.rank == 0 and self.stop_asked()

    def record_fact(self, phase: str, facts: Mapping[str, Any]) -> None:
        record_fact(self.writer, phase, facts)

    def recorded_facts(self, phase: str) -> list[PartRecord]:
        return recorded_facts(self.writer, phase)
