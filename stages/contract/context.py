"""What a stage is given and what it may ask for: the only door between stages and the machines they run on.

A stage asks for four things: to `spread` work over parts, to run a `gang` of ranks, to `report` numbers, and for a
private `scratch` folder. Whoever runs stages (`cluster/`) fulfils them. Stages know no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from stages.artifacts.records import PartRecord
from stages.contract.parts import Part, PartWork
from stages.contract.ranks import Rank


class StageContext(Protocol):
    """What a stage may ask of its surroundings."""

    @property
    def scratch(self) -> Path:
        """A private local folder, removed when the stage returns."""

    def spread(self, work: PartWork, *, over: Sequence[Part], phase: str) -> tuple[PartRecord, ...]:
        """Do `work` for each part, on as many workers as the site gives; returns the records in listed order.

        `work` must pickle: a function at module level, or `functools.partial` of one. Parts that are recorded
        already are not done again.
        """

    def gang(self, rank_main: Callable[[Rank], None]) -> None:
        """Run `rank_main` in every rank of a new process group; returns when all have. It must pickle."""

    def report(self, numbers: Mapping[str, float]) -> None:
        """Post numbers for people to watch."""
