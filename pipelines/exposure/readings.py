"""What the steps of trainings read of what is asked about: computed from the order of rows, never logged.

Owns the tally of each training, by optimizer step. The documents of packed rows are looked at once, part by part, for
all trainings that read them. Memory: 24 bytes for each step of a training that read any, 4 for each sample that is
asked about, and the documents of one part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.exposure.holds import Doubts, Holds, short_of
from pipelines.exposure.packed_documents import Documents, PackedDocuments
from pipelines.exposure.trainings import KnownTraining
from pipelines.exposure.wanted import Hold, Wanted, joined, places_in
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import Rows
from stages.contract import ReadingSteps
from stages.store.errors import StoreError
from stages.training.loading.step_rows import RowOrder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.permutation import Whole


MAX_ROWS: Final = 2**36
"""More rows than an artifact has: a step and a row make one number."""


@dataclass(frozen=True, eq=False)
class StepReads:
    """The optimizer steps of a training that read what is asked about; steps are counted from 1, as people count."""

    steps: Whole
    """[S] numbers of the steps, rising."""
    documents: Whole
    """[S] documents that each read."""
    rows: Whole
    """[S] rows with such documents that each read."""
    tokens: Whole
    """[S] tokens of these documents."""

    @classmethod
    def none(cls) -> StepReads:
        """No step."""
        import numpy as np

        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing)

    def until(self, step: int) -> StepReads:
        """What steps up to this one read."""
        import numpy as np

        number = int(np.searchsorted(self.steps, step, side="right"))
        return StepReads(self.steps[:number], self.documents[:number], self.rows[:number], self.tokens[:number])

    def after(self, step: int) -> StepReads:
        """What later steps read."""
        number = len(self.until(step).steps)
        return StepReads(self.steps[number:], self.documents[number:], self.rows[number:], self.tokens[number:])

    @property
    def first(self) -> int | None:
        """The first of the steps; None where there is none."""
        return int(self.steps[0]) if len(self.steps) else None

    @property
    def num_documents(self) -> int:
        """How often documents were read."""
        return int(self.documents.sum())

    @property
    def num_tokens(self) -> int:
        """How many tokens of them."""
        return int(self.tokens.sum())

    @property
    def num_rows(self) -> int:
        """How often rows were read that hold them."""
        return int(self.rows.sum())

    @property
    def stretches(self) -> list[list[int]]:
        """The steps as first and last of each run of consecutive ones: [[3, 3], [7, 9]] for 3, 7, 8 and 9."""
        import numpy as np

        if not len(self.steps):
            return []
        cuts = np.flatnonzero(np.diff(self.steps) > 1)
        firsts, lasts = self.steps[[0, *(cuts + 1)]], self.steps[[*cuts, len(self.steps) - 1]]
        return [list(pair) for pair in zip(firsts.tolist(), lasts.tolist(), strict=True)]


@dataclass(eq=False)
class Tally:
    """Counts what the steps of one training read."""

    training: KnownTraining
    ids: NDArray[np.bytes_] | None
    """Samples that are counted one by one; None where every sample is asked about."""
    until_step: int
    """Steps before this one, counted from 0, are those whose samples are counted one by one."""
    _counts: Whole | None = None
    _times: NDArray[np.int32] | None = None

    def add(self, documents: Documents, stretch: ReadingSteps, order: RowOrder) -> None:
        """Count the documents of one part in one stretch of steps."""
        import numpy as np

        rows, row_of = np.unique(documents.rows, return_inverse=True)
        held = np.bincount(row_of, minlength=len(rows))
        tokens = np.bincount(row_of, documents.tokens, len(rows)).astype(np.int64)
        if self._counts is None:
            self._counts = np.zeros((3, self.training.num_steps), np.int64)
        for taken, steps in order.steps_of_rows(rows, stretch.until_step - stretch.first_step):
            is_read = ~self._left_out(stretch.first_step + steps, rows[taken])
            numbers, absolute = taken[is_read], stretch.first_step + steps[is_read]
            for counts, each in zip(self._counts, (held, np.ones_like(held), tokens), strict=True):
                np.add.at(counts, absolute, each[numbers])
            if self.ids is not None:
                times = np.bincount(numbers[absolute < self.until_step], minlength=len(rows)).astype(np.int32)
                self._times = np.zeros(len(self.ids), np.int32) if self._times is None else self._times
                np.add.at(self._times, places_in(self.ids, documents.ids), times[row_of])

    def _left_out(self, steps: Whole, rows: Whole) -> NDArray[np.bool_]:
        """Whether each (step, row) was left out: the whole step, or the row as damaged."""
        import numpy as np

        left_out = self.training.left_out
        found = np.isin(steps, np.array(sorted(left_out.steps), np.int64))
        if left_out.rows:
            damaged = np.array([step * MAX_ROWS + row for step, row in left_out.rows], np.int64)
            found |= np.isin(steps * MAX_ROWS + rows, damaged)
        return found

    @property
    def reads(self) -> StepReads:
        """What each step read."""
        import numpy as np

        counts = np.zeros((3, 0), np.int64) if self._counts is None else self._counts
        steps = np.flatnonzero(counts[1])
        documents, rows, tokens = counts[:, steps]
        return StepReads(steps + 1, documents, rows, tokens)

    @property
    def times(self) -> dict[bytes, int] | None:
        """How often committed steps read each sample that they read; None where every sample is asked about."""
        import numpy as np

        if self.ids is None:
            return None
        if self._times is None:
            return {}
        read = np.flatnonzero(self._times)
        ids = self.ids.view(f"V{self.ids.itemsize}")
        return {ids[number].tobytes(): int(self._times[number]) for number in read.tolist()}

    @property
    def num_samples(self) -> int | None:
        """How many different samples committed steps read; None where every sample is asked about."""
        import numpy as np

        return None if self.ids is None else int(np.count_nonzero(self._times if self._times is not None else ()))


@dataclass
class Readings:
    """The tallies of trainings, by their short names, and what the answer rests on."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    """Rows whose index from samples to rows was too long to be compared with its digest before it was believed."""


def read_all(holds: Holds, trainings: Sequence[KnownTraining], doubts: Doubts) -> Readings:
    """What the steps of these trainings read. What cannot be read is a doubt about the rows."""
    readings = Readings()
    readers: dict[str, list[tuple[KnownTraining, ReadingSteps]]] = {}
    for training in trainings:
        for stretch in training.course:
            readers.setdefault(short_of(stretch.rows), []).append((training, stretch))
    ids = {training.short: _ids(holds, training) for training in trainings}
    for short, reading in readers.items():
        hold = holds.holds.get(short)
        if hold is None:
            if short not in holds.nodes or holds.nodes[short].head is None:
                doubts.add(short, f"{short}, whose rows {reading[0][0].short} read, is not in the store")
            continue
        for training, _ in reading:
            tally = Tally(training, ids[training.short], training.num_taken)
            readings.tallies.setdefault(training.short, tally)
        try:
            if not _read(reading, hold, holds.row_parts.get(short), readings.tallies):
                readings.not_compared.append(short)
        except StoreError as error:
            doubts.add(short, error)
    return readings


def _read(
    reading: Sequence[tuple[KnownTraining, ReadingSteps]],
    hold: Hold,
    among: frozenset[str] | None,
    tallies: Mapping[str, Tally],
) -> bool:
    """Add what these stretches of steps read of one Rows artifact; whether its index was compared with its digest."""
    training, stretch = reading[0]
    packed = PackedDocuments(open_artifact(training.store, stretch.rows.stage, stretch.rows.fingerprint, Rows))
    orders = [packed.order_of(stretch) for _, stretch in reading]
    for documents in packed.find(hold, among):
        for (training, stretch), order in zip(reading, orders, strict=True):
            tallies[training.short].add(documents, stretch, order)
    return packed.is_compared


def _ids(holds: Holds, training: KnownTraining) -> NDArray[np.bytes_] | None:
    """The samples that may be in the rows of a training; None where that is every sample of some source."""
    rows: Iterable[Hold] = (holds.holds.get(short_of(stretch.rows), {}) for stretch in training.course)
    together = Wanted.of(())
    for wanted in joined(rows).values():
        together |= wanted
    return together.ids
