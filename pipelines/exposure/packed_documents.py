"""Documents of packed rows that are asked about, part by part: which rows hold them, and how many tokens they have.

Owns how they are found: by the artifact's index from samples to rows, which names the parts that are read, else in the
indexes of all parts. The index of a part is compared with its committed digest before it is believed. Memory holds the
places of all parts, 200 bytes each, and the documents of one part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from pipelines.exposure.wanted import ANY, ID_TYPE, Hold, ids_of
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import (
    PLAN_PHASE,
    ROW_INDEX_FILE,
    ROWS_PHASE,
    SAMPLE_ROWS_FILE,
    Rows,
)
from stages.artifacts.records import FileEntry, PartRecord
from stages.contract import ReadingSteps
from stages.formats.packed_rows.sample_index import SampleIndex
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import read_table
from stages.store.reader import NUM_READERS
from stages.training.loading.step_rows import RowOrder

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.exposure.wanted import Ids
    from stages.formats.permutation import Whole

IDS_AT_A_TIME: Final = 2**16
"""Samples that are looked up together."""
COMPARED_BYTES: Final = 2**26
"""Longest index from samples to rows that is compared with its digest before it is believed, in bytes: 64 MiB. A longer
one is looked into without that; `neo audit REF --level full` compares it."""


class Documents(NamedTuple):
    """The documents of one part that are asked about."""

    rows: Whole
    """[D] number of the row of each, rising."""
    ids: Ids
    """[D] sample of each; empty where nobody asks for ids."""
    tokens: Whole
    """[D] tokens of each."""


class RowPart(NamedTuple):
    """The index of one part of phase `write`."""

    part: str
    first_row: int
    num_rows: int
    num_tokens: int
    entry: FileEntry


@dataclass(frozen=True)
class PackedDocuments:
    """The documents of one Rows artifact, to be asked about."""

    rows: Rows

    @cached_property
    def parts(self) -> tuple[RowPart, ...]:
        """Where the index of each part lies, in order of their rows. Reads the manifest a part at a time."""
        return tuple(_row_part(record) for record in self.rows.each_part() if record.phase == ROWS_PHASE)

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return self.parts[-1].first_row + self.parts[-1].num_rows if self.parts else 0

    @property
    def mean_row_tokens(self) -> float:
        """Tokens of the mean row."""
        return sum(part.num_tokens for part in self.parts) / max(1, self.num_rows)

    def order_of(self, stretch: ReadingSteps) -> RowOrder:
        """The order in which a stretch of steps read these rows."""
        return RowOrder(
            num_rows=self.num_rows,
            rows_per_step=stretch.rows_per_step,
            seed=stretch.seed,
            first_row=stretch.first_row,
            rows_together=int(self.rows.head.recipe.get("rows_together", 1)),
        )

    @property
    def is_compared(self) -> bool:
        """Whether the index from samples to rows is short enough to be compared with its digest."""
        return self._plan is None or self._plan.file(SAMPLE_ROWS_FILE).size_bytes <= COMPARED_BYTES

    def find(self, hold: Hold, among: frozenset[str] | None = None) -> Iterator[Documents]:
        """The documents that `hold` asks for, of each part that has any; of the parts `among` alone, if that is said.

        Raises `StoreError` where one is damaged.
        """
        store = self.rows.store
        parts = [part for part in self._parts_with(hold) if among is None or part.part in among]

        def read(part: RowPart) -> Documents:
            return self._of_part(part, hold)

        found = map(read, parts) if store.folder else ahead(read, parts, NUM_READERS)
        return (documents for documents in found if len(documents.rows))

    @cached_property
    def _plan(self) -> PartRecord | None:
        """The part that holds the index from samples to rows; None where there is none, as of a user's own stage."""
        for record in self.rows.each_part():
            if record.phase == PLAN_PHASE and any(entry.name == SAMPLE_ROWS_FILE for entry in record.files):
                return record
        return None

    def _parts_with(self, hold: Hold) -> Sequence[RowPart]:
        """The parts that may hold any of it."""
        import numpy as np

        arrays = [wanted.ids for wanted in hold.values()]
        ids = [one for one in arrays if one is not None]
        if self._plan is None or len(ids) < len(arrays):
            return self.parts
        if self.is_compared:
            _check(self.rows, self._plan.file(SAMPLE_ROWS_FILE))
        index = SampleIndex(self.rows, self._plan)
        first_rows = np.array([part.first_row for part in self.parts])
        holding = np.zeros(len(self.parts), bool)
        for array in ids:
            for start in range(0, len(array), IDS_AT_A_TIME):
                rows = index.rows_holding(array[start : start + IDS_AT_A_TIME])
                holding[np.searchsorted(first_rows, rows, side="right") - 1] = True
        return [self.parts[number] for number in np.flatnonzero(holding).tolist()]

    def _of_part(self, part: RowPart, hold: Hold) -> Documents:
        import numpy as np
        import pyarrow.compute as pc

        by_id = any(not wanted.is_every for wanted in hold.values())
        columns = ["sources", "document_tokens", *(["sample_ids"] if by_id else [])]
        try:
            table = read_table(_check(self.rows, part.entry), columns).combine_chunks()
            lists = {name: table[name].combine_chunks() for name in columns}
            rows = pc.list_parent_indices(lists["sources"]).to_numpy().astype(np.int64)
            tokens = lists["document_tokens"].flatten().to_numpy().astype(np.int64)
            ids = ids_of(lists["sample_ids"].flatten()) if by_id else np.zeros(len(rows), ID_TYPE)
            is_wanted = _wanted(hold, ids, lists["sources"].flatten())
        except (KeyError, OSError, ValueError) as error:  # Arrow's own errors are of these
            raise self.rows.damaged(part.entry.key, f"cannot be read ({error})") from error
        return Documents(part.first_row + rows[is_wanted], ids[is_wanted], tokens[is_wanted])


def _wanted(hold: Hold, ids: Ids, sources: pa.Array) -> NDArray[np.bool_]:
    """[D] whether each document is asked for."""
    import numpy as np
    import pyarrow.compute as pc

    is_wanted = np.zeros(len(sources), bool)
    for source, wanted in hold.items():
        hits = np.ones(len(sources), bool) if wanted.is_every else wanted.holds(ids)
        if source != ANY and hits.any():
            hits &= pc.equal(sources, source).to_numpy(zero_copy_only=False)
        is_wanted |= hits
    return is_wanted


def _row_part(record: PartRecord) -> RowPart:
    facts = record.facts
    numbers = (int(facts["first_row"]), int(facts["num_rows"]), int(facts.get("num_tokens", 0)))
    return RowPart(record.part, *numbers, record.file(ROW_INDEX_FILE))


def _check(artifact: Artifact, entry: FileEntry) -> bytes:
    """The bytes of a file as they were committed. Raises `StoreError` where they are not."""
    data = artifact.read(entry)
    if sha256(data).hexdigest() != entry.sha256:
        raise artifact.damaged(entry.key, "is damaged: it has another digest")
    return data


def num_held(rows: Rows, hold: Hold, first_rows: int, among: frozenset[str] | None = None) -> int:
    """How many documents of the first `first_rows` rows are asked for. Raises `StoreError` where one is damaged."""
    import numpy as np

    return sum(int(np.count_nonzero(one.rows < first_rows)) for one in PackedDocuments(rows).find(hold, among))
