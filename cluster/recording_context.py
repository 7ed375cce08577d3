"""What the contexts of both backends share: phases are opened, records gathered, numbers posted.

How parts are made and ranks are run is left to the backend: `cluster/local.py` in this process, `cluster/step_task.py`
on Ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.inputs import read_pinned
from stages.commit.parts import PartWriter
from stages.contract import (
    PROFILE_PHASE,
    Artifact,
    GangLayout,
    NumbersReported,
    Part,
    PartRecord,
    PartWork,
    PinnedSource,
    Post,
    Rank,
    Source,
    SourcePlace,
    StageError,
    StepBusy,
    Store,
)


def starting_ranks(step: str, num_ranks: int) -> StepBusy:
    """Says that the processes of a worker group are started."""
    return StepBusy(step=step, doing=f"starting {num_ranks} rank{'' if num_ranks == 1 else 's'}")


@dataclass
class GatheringContext(ABC):
    """Fulfils `stages.contract.context.StageContext` for one step, over two things a backend can do."""

    writer: ArtifactWriter
    scratch: Path
    post: Post
    records: list[PartRecord] = field(default_factory=list, kw_only=True)
    places: Mapping[str, SourcePlace] = field(default_factory=dict, kw_only=True)
    """Source name to where its files lie; the executed step sets it."""
    phases: tuple[str, ...] | None = field(default=None, kw_only=True)
    """Phases that the stage declares, None for any; the executed step sets it."""
    unchanged: Mapping[str, Sequence[PartRecord]] = field(default_factory=dict, kw_only=True)
    """Phase to the records of parts that an earlier make has of rows that did not change; the executed step sets it."""

    before: Artifact | None = field(default=None, kw_only=True)
    """What the stage made of the same recipe under fewer takedowns; the executed step sets it."""

    @abstractmethod
    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        """Make all these parts, handing each record to `keep` as it comes, or raise once none is under way."""

    @abstractmethod
    def run_ranks(self, rank_main: Callable[[Rank], None], rows_per_step: int | None, /) -> None:
        """Run `rank_main` in each rank of a new group, or raise once none is running."""

    @abstractmethod
    def gang_layout(self) -> GangLayout:
        """The layout of a group of ranks, with the least number of them."""

    @property
    def store(self) -> Store:
        return self.writer.store

    def spread(
        self, work: PartWork, *, over: Sequence[Part], phase: str, taken: Sequence[PartRecord] = ()
    ) -> tuple[PartRecord, ...]:
        if self.phases is not None and phase not in self.phases:
            raise StageError(
                f"step {self.writer.step!r}: its stage works in phase {phase!r}, which it does not declare; "
                f"add it to @stage(phases={self.phases!r})"
            )
        recorded = PartWriter(self.writer, self.post).open_phase(phase, over, [*taken, *self.unchanged.get(phase, ())])
        missing = [part for part in over if part.name not in recorded.by_part]
        if missing:
            self.make_parts(work, missing, phase, recorded.add)
        records = tuple(recorded.by_part[part.name] for part in over)
        if phase != PROFILE_PHASE:
            self.records.extend(records)
        return records

    def gang(
        self,
        rank_main: Callable[[Rank], None],
        *,
        rows_per_step: int | None = None,
        check: Callable[[GangLayout], None] | None = None,
    ) -> None:
        try:
            layout = self.gang_layout()
        except ValueError as error:  # of a table of the site, which names ranks that another table groups
            raise StageError(f"step {self.writer.step!r}: its ranks cannot be laid out so: {error}") from error
        if check is not None:
            check(layout)
        self.run_ranks(rank_main, rows_per_step)
        latest = CheckpointRecords(self.writer.store, self.writer.folder).latest()
        self.records.extend([] if latest is None else [latest])

    def pinned(self, source: Source) -> PinnedSource:
        return read_pinned(self.writer.store, source, self.places)

    def report(self, numbers: Mapping[str, float]) -> None:
        self.post(NumbersReported(step=self.writer.step, numbers=dict(numbers)))
