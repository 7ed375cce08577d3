"""The parts of all sources as one sequence of rows, and consecutive parts in groups.

A row of phase `sketch` is a pair that its source kept. Rows are counted through the parts that are judged, then
through those of the earlier sources by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stages.contract import Part, PartTask, StageError
from stages.duplicates.ranks import MAX_ROWS
from stages.formats.sample_sources import SampleArtifact, open_source

JUDGED: Final = ""
"""Name of the source that is judged, among those of the earlier ones, which users name."""
ROWS_PER_GROUP: Final = 2**20
"""Rows of the consecutive parts that one part of the phases `list` and `gather` takes together, at least, where there
are so many: 32 MB of records for each criterion."""


class SketchTask(PartTask):
    """The task of a part of phase `sketch`: one part of a source."""

    source: str
    """Name of the earlier source; empty for the pairs that are judged."""
    part: str
    """Name of the part there."""
    first_row: int
    """Number of its first row."""
    num_rows: int
    """Pairs of the part that the source kept."""

    @property
    def name(self) -> str:
        """The name of the part of phase `sketch`."""
        return f"sketch_{self.part}" if self.source == JUDGED else f"{self.source}-{self.part}"


class GroupTask(PartTask):
    """The task of a part that takes a group of consecutive parts of phase `sketch` together."""

    first: int
    """Number of the first of these parts."""
    until: int
    """Number behind the last of them."""


@dataclass(frozen=True)
class RowParts:
    """All parts of phase `sketch`, in order."""

    tasks: Sequence[SketchTask]

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return sum(task.num_rows for task in self.tasks)

    @property
    def judged(self) -> list[SketchTask]:
        """The parts of the source that is judged, which come first."""
        return [task for task in self.tasks if task.source == JUDGED]

    def groups(self, *, only_judged: bool = False) -> list[GroupTask]:
        """Consecutive parts in groups of some `ROWS_PER_GROUP` rows, each of one source.

        With a million rows a group, parts of 600,000, 600,000 and 100,000 rows make the groups 0 and 1, and 2.
        """
        groups: list[GroupTask] = []
        first, num_rows = 0, 0
        for number, task in enumerate(self.tasks):
            is_last = number + 1 == len(self.tasks) or self.tasks[number + 1].source != task.source
            num_rows += task.num_rows
            if num_rows >= ROWS_PER_GROUP or is_last:
                groups.append(GroupTask(first=first, until=number + 1))
                first, num_rows = number + 1, 0
        return [group for group in groups if self.tasks[group.first].source == JUDGED or not only_judged]

    def first_rows(self, groups: Sequence[GroupTask]) -> list[int]:
        """The number of the first row of each group."""
        return [self.tasks[group.first].first_row for group in groups]

    def sources(self) -> list[tuple[int, str]]:
        """The first row and the name of each source, in order."""
        begun: dict[str, int] = {}
        for task in self.tasks:
            begun.setdefault(task.source, task.first_row)
        return [(first, name) for name, first in begun.items()]


def row_parts(judged: SampleArtifact, earlier: Mapping[str, SampleArtifact]) -> RowParts:
    """The parts of all sources. Raises `StageError` where they hold more rows than can be numbered."""
    tasks: list[SketchTask] = []
    first_row = 0
    for name, source in [(JUDGED, judged), *sorted(earlier.items())]:
        for part, num_rows in open_source(source).num_kept.items():
            tasks.append(SketchTask(source=name, part=part, first_row=first_row, num_rows=num_rows))
            first_row += num_rows
    if first_row > MAX_ROWS:
        raise StageError(
            f"the sources hold {first_row:,} pairs together, and {MAX_ROWS:,} can be compared at once: bind fewer "
            "earlier sources, or filter them first"
        )
    return RowParts(tasks)


def group_parts(groups: Sequence[GroupTask]) -> list[Part]:
    """A part for each group."""
    return [Part(name=f"rows_{number:05d}", task=group.dump()) for number, group in enumerate(groups)]
