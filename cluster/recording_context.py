"""What the contexts of both backends share: phases are opened, records gathered, numbers posted.

How parts are made and ranks are run is left to the backend: `cluster/local.py` in this process, `cluster/step_task.py`
on Ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.commit.parts import Making
from stages.contract import NumbersReported, Part, PartRecord, PartWork, Post, Rank


@dataclass
class GatheringContext(ABC):
    """Fulfils `stages.contract.context.StageContext` for one step, over two things a backend can do."""

    making: Making
    scratch: Path
    post: Post
    records: list[PartRecord] = field(default_factory=list, kw_only=True)

    @abstractmethod
    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        """Make all these parts, handing each record to `keep` as it comes, or raise once none is under way."""

    @abstractmethod
    def run_ranks(self, rank_main: Callable[[Rank], None]) -> None:
        """Run `rank_main` in each rank of a new group, or raise once none is running."""

    def spread(self, work: PartWork, *, over: Sequence[Part], phase: str) -> tuple[PartRecord, ...]:
        recorded = self.making.open_phase(phase, over, self.post)
        missing = [part for part in over if part.name not in recorded.found]
        if missing:
            self.make_parts(work, missing, phase, recorded.add)
        records = tuple(recorded.found[part.name] for part in over)
        self.records.extend(records)
        return records

    def gang(self, rank_main: Callable[[Rank], None]) -> None:
        self.run_ranks(rank_main)
        latest = self.making.latest_checkpoint()
        self.records.extend([] if latest is None else [latest])

    def report(self, numbers: Mapping[str, float]) -> None:
        self.post(NumbersReported(step=self.making.step, numbers=dict(numbers)))
