"""One rank of a gang: what `stages.contract.context.Rank` promises, over a process group that is already initialised.

Shared by the Ray and the Ray-free backend, which differ only in how the processes come to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.commit.parts import Making
from stages.contract import FileEntry, GangLayout, Noticed, NumbersReported, PartRecord, PictureKept, Post


@dataclass
class GangRank:
    """A rank bound to the making of one artifact."""

    making: Making
    layout: GangLayout
    rank: int
    world_size: int
    device: str
    scratch: Path
    post: Post
    stop_asked: Callable[[], bool]
    """Asked on rank 0 only, at every step: it must not wait."""
    next_checkpoint: int = 0
    """Number of the checkpoint that is committed next: one after the last that this rank went on from or recorded."""

    def report(self, numbers: Mapping[str, float], at_step: int) -> None:
        self.post(NumbersReported(step=self.making.step, numbers=dict(numbers), at_step=at_step))

    def keep_picture(self, name: str, png: bytes, at_step: int) -> None:
        key = self.making.keep_picture(f"{name}-{at_step:08d}", png)
        self.post(PictureKept(step=self.making.step, name=name, key=key, at_step=at_step))

    def should_stop(self) -> bool:
        return self.rank == 0 and self.stop_asked()

    def latest(self) -> PartRecord | None:
        found = self.making.latest_checkpoint()
        self.next_checkpoint = 0 if found is None else int(found.part) + 1
        return found

    @property
    def allows_rollback(self) -> bool:
        return self.making.allows_rollback

    def roll_back(self, to: PartRecord, why: str) -> None:
        self.making.roll_back(to, why)

    def fetch(self, record: PartRecord, folder: Path, prefix: str = "") -> None:
        self.making.fetch(record, folder, prefix)

    def upload(self, folder: Path, step: int) -> tuple[FileEntry, ...]:
        return self.making.upload_checkpoint(folder, step)

    def record(self, files: Sequence[FileEntry], step: int, facts: Mapping[str, Any]) -> PartRecord:
        asked = {**facts, "step": step}
        record = self.making.record_checkpoint(
            files, asked, number=self.next_checkpoint, num_ranks=self.world_size, post=self.post
        )
        self.next_checkpoint += 1
        return record

    def note(self, phase: str, facts: Mapping[str, Any]) -> None:
        self.making.note(phase, facts)

    def noted(self, phase: str) -> list[PartRecord]:
        return self.making.noted(phase)

    def notice(self, said: str) -> None:
        self.post(Noticed(step=self.making.step, said=f"rank {self.rank}: {said}"))

    def keep_log(self, name: str, text: str) -> None:
        self.making.keep_log(name, text)

    def standing(self) -> list[PartRecord]:
        return self.making.standing_checkpoints()

    def delete(self, record: PartRecord) -> None:
        self.making.delete_checkpoint(record)
