"""Cuts the rows of a source into parts of which each reads its own rows alone, however many rows there are.

Three phases before the one that a stage works in: `rows` reads each file once, `repeats` and `ordinals` find the rows
that repeat earlier ones. The process of the stage holds an entry for each part, and nothing for each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from stages.artifacts.phase_files import read_stretch
from stages.contract import Part, PartRecord, PartTask, PinnedSource, StageContext, StageError
from stages.formats.sample_table import read_table
from stages.origins.pieces import pieces_of
from stages.origins.repeats import (
    IDS_FILE,
    ORDINALS_PHASE,
    REPEATS_PHASE,
    IdFile,
    Ordinals,
    find_repeats,
    read_ordinals,
)
from stages.origins.row_files import (
    TABULATED_FILE,
    FileGroup,
    TabulatedFacts,
    WantedRows,
    first_rows,
    groups_of,
    read_files,
)
from stages.origins.tables.unite import conformed, settled, united
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

TABULATE_PHASE = "rows"
"""The phase that reads files."""
ROW_PHASES = (TABULATE_PHASE, REPEATS_PHASE, ORDINALS_PHASE)
"""The phases before that of the stage, in order."""
GROUP_BYTES = 64 * 1024 * 1024
"""Bytes of small files that are read in one part, at least."""


class RowStretch(PartTask):
    """The task of a part of the last phase: where its rows lie."""

    file: str
    """Part of phase `rows` that holds them."""
    offset: int
    """First byte of its stretch."""
    size_bytes: int
    """Length of its stretch, in bytes."""
    first_row: int
    """Number of its first row in the whole table."""
    range_part: str = ""
    """Part of phase `ordinals` that holds the ordinals of its repeated rows; "" where it has none."""
    first_ordinal: int = 0
    """First of those in that part."""
    num_ordinals: int = 0
    """Number of repeated rows."""


@dataclass(frozen=True)
class PartRows:
    """The rows of one part."""

    table: pa.Table
    """Columns under their names here, those carried along, and `MALFORMED`: why a row could not be read."""
    ordinals: dict[int, int]
    """Row of the part to ordinal (1, 2, ...), for rows that repeat an earlier row of the whole table."""
    first_row: int
    """Number of the first row in the whole table."""


@dataclass(frozen=True)
class PartRowReader:
    """Reads the rows of parts. Pickles; holds a key for each part of phase `rows`."""

    store: Store
    row_keys: Mapping[str, str]
    """Part of phase `rows` to the key of its rows."""
    ordinal_keys: Mapping[str, str]
    """Part of phase `ordinals` to the key of its ordinals."""
    schema: pa.Schema
    """Columns of all rows."""

    def read(self, part: Part) -> PartRows:
        """The rows of one part, by one read, or two where some repeat earlier ones."""
        task = RowStretch.of(part)
        data = read_stretch(self.store, self.row_keys[task.file], task.offset, task.size_bytes)
        table = conformed(read_table(data), self.schema)
        ordinals: dict[int, int] = {}
        if task.num_ordinals:
            where = Ordinals(task.range_part, task.first_ordinal, task.num_ordinals)
            ordinals = read_ordinals(self.store, self.ordinal_keys[task.range_part], where, task.first_row)
        return PartRows(table, ordinals, task.first_row)


@dataclass(frozen=True)
class TabulatedRows:
    """The rows of a source, ready to be read in parts."""

    parts: list[Part]
    """Parts of the last phase, in table order; each knows its number of rows."""
    reader: PartRowReader
    """Reads the rows of those parts."""
    columns: Mapping[str, str]
    """Wanted column to the table's own name of it."""


def tabulate(ctx: StageContext, pinned: PinnedSource, wanted: WantedRows) -> TabulatedRows:
    """Read the files of a source into parts of `wanted.num_rows_per_part` rows.

    Rows are numbered through the files in the order of their paths. Raises `StageError`, before any part of the last
    phase exists, where a column is missing, may mean two things, has a reserved name or types that do not unite, and
    where there are no rows.
    """
    first = first_rows(pinned, wanted.options)
    if first is None:
        raise StageError(
            f"source {pinned.name!r} has no rows: its {len(pinned.files)} files below {pinned.place} are empty"
        )
    path, batch = first
    matched = wanted.match(batch.schema.names[:-1], path)
    groups = groups_of(pieces_of(pinned, wanted.options), GROUP_BYTES)
    over = [Part(name=f"file_{number:05d}", task=FileGroup(pieces=group).dump()) for number, group in enumerate(groups)]
    work = partial(read_files, place=pinned.place, wanted=wanted, matched=matched)
    records = ctx.spread(work, over=over, phase=TABULATE_PHASE)
    facts = [TabulatedFacts.of(record) for record in records]
    names = [FileGroup.of(part).pieces[0].file.path for part in over]
    schema = settled(united((name, fact.arrow_schema) for name, fact in zip(names, facts, strict=True)))
    stretches = list(_stretches(records, facts, wanted.num_rows_per_part))
    num_rows = sum(fact.num_rows for fact in facts)
    ordinals, ordinal_keys = find_repeats(
        ctx, _id_files(records, facts), [*(stretch.first_row for stretch in stretches), num_rows]
    )
    row_keys = {record.part: record.file(TABULATED_FILE).key for record in records}
    reader = PartRowReader(ctx.store, row_keys, ordinal_keys, schema)
    return TabulatedRows(_parts(stretches, ordinals, num_rows), reader, matched)


def _stretches(
    records: Sequence[PartRecord], facts: Sequence[TabulatedFacts], num_rows_per_part: int
) -> Iterator[RowStretch]:
    first_row = 0
    for record, fact in zip(records, facts, strict=True):
        for number, (start, end) in enumerate(pairwise([0, *fact.ends])):
            row = first_row + number * num_rows_per_part
            yield RowStretch(file=record.part, offset=start, size_bytes=end - start, first_row=row)
        first_row += fact.num_rows


def _id_files(records: Sequence[PartRecord], facts: Sequence[TabulatedFacts]) -> list[IdFile]:
    first_rows_ = accumulate((fact.num_rows for fact in facts), initial=0)
    return [IdFile(record.file(IDS_FILE).key, row) for record, row in zip(records, first_rows_, strict=False)]


def _parts(stretches: Sequence[RowStretch], ordinals: Sequence[Ordinals | None], num_rows: int) -> list[Part]:
    ends = [*(stretch.first_row for stretch in stretches[1:]), num_rows]
    parts = []
    for number, (stretch, where, end) in enumerate(zip(stretches, ordinals, ends, strict=True)):
        update = (
            {"range_part": where.range_part, "first_ordinal": where.first, "num_ordinals": where.number}
            if where
            else {}
        )
        task = stretch.model_copy(update=update)
        parts.append(Part(name=f"{number:05d}", task=task.dump(), num_items=end - stretch.first_row))
    return parts
