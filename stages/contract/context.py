"""What a stage may ask for: the only interface between stages and the machines they run on.

Four verbs: `spread` work over parts (a map), run a `gang` of ranks (a worker group), `report` metrics, and a private
`scratch` folder. A backend in `cluster/` implements them; stages know no backend.
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
        """Map `work` over parts, on as many workers as the site allows; returns the records in listed order.

        `work` must pickle: a function at module level, or `functools.partial` of one. Parts that are recorded
        already are not done again.
        """

    def gang(self, rank_main: Callable[[Rank], None]) -> None:
        """Run `rank_main` in every rank of a new process group; returns when all have. It must pickle."""

    def report(self, numbers: Mapping[str, float]) -> None:
        """Post metrics for people to watch. Does not block."""
