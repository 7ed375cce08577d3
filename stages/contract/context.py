"""What a stage may ask for: the only interface between stages and the machines they run on.

`spread` work over parts (a map), run a `gang` of ranks (a worker group), `report` metrics, ask which files a source has
(`pinned`), read what earlier phases of its artifact wrote (`store`), and a private `scratch` folder. A backend in
`cluster/` implements them; stages know no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import PartRecord
from stages.contract.parts import Part, PartWork
from stages.contract.ranks import GangLayout, Rank
from stages.contract.source import PinnedSource, Source
from stages.store.store import Store

REFUSED_NETWORKS_VARIABLE: Final = "NEO_REFUSED_NETWORKS"
"""Environment variable of all processes of a run: networks that a site lets no download ask, with commas between."""


class StageContext(Protocol):
    """What a stage may ask of its surroundings."""

    @property
    def scratch(self) -> Path:
        """A private local folder, removed when the stage returns."""

    @property
    def before(self) -> Artifact | None:
        """What the stage made of the same recipe under fewer takedowns, of which it takes parts over; mostly None."""

    @property
    def store(self) -> Store:
        """The store, to read what earlier phases of the same artifact wrote. A stage writes through parts alone."""

    def spread(
        self, work: PartWork, *, over: Sequence[Part], phase: str, taken: Sequence[PartRecord] = ()
    ) -> tuple[PartRecord, ...]:
        """Map `work` over parts, on as many workers as the site allows; returns the records in listed order.

        `work` must pickle: a function at module level, or `functools.partial` of one. Parts that are recorded
        already are not done again. `taken` are records of parts of an input that parts of `over` of the same names take
        over by reference: nothing is done for them. They must follow from the recipe and the inputs alone.
        """

    def gang(
        self,
        rank_main: Callable[[Rank], None],
        *,
        rows_per_step: int | None = None,
        check: Callable[[GangLayout], None] | None = None,
    ) -> None:
        """Run `rank_main` in every rank of a new process group; returns when all have. It must pickle.

        It is run again, in groups of other sizes, after machines were lost or came. `rows_per_step` is what ranks
        share: no more of them are taken than have rows; None where any number is of use. `check` raises `StageError`
        for a layout that the ranks would refuse, before machines are asked for.
        """

    def pinned(self, source: Source) -> PinnedSource:
        """The files of a source of the recipe, as `neo pin` found them. Raises `StageError` if it is not pinned."""

    def report(self, numbers: Mapping[str, float]) -> None:
        """Post metrics for people to watch. Does not block."""
