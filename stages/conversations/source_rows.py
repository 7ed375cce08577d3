"""Opens a source of conversations or questions: what its first rows look like, and its rows in parts.

Owns how columns get their names here. The first rows decide for the whole table: what does not fit is refused before
any part is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.contract import PinnedSource, StageError
from stages.conversations.dialects import FIRST_ROWS
from stages.conversations.records import RECORD, compact_table, records_of
from stages.origins.row_files import WantedRows, first_rows

if TYPE_CHECKING:
    from stages.conversations.image_references import Record


@dataclass(frozen=True)
class FirstRows:
    """The beginning of a source."""

    columns: Sequence[str]
    """Columns of its first file, under the table's own names."""
    records: Sequence[Record]
    """Its first records, under the names here."""


def look_at(pinned: PinnedSource, wanted: WantedRows) -> FirstRows:
    """The first rows of a source. Raises `StageError` where it has none, or lacks a column that is wanted."""
    import pyarrow as pa

    first = first_rows(pinned, wanted.options)
    if first is None:
        raise StageError(f"source {pinned.name!r} has no rows: its files below {pinned.place} are empty")
    path, batch = first
    table = pa.Table.from_batches([batch]).slice(0, FIRST_ROWS)
    found = table.column_names[:-1]
    named = wanted.name(found, wanted.match(found, path), path)
    fields = [table.schema.field(theirs).with_name(ours) for ours, theirs in named.items()]
    renamed = pa.Table.from_arrays([table.column(theirs) for theirs in named.values()], schema=pa.schema(fields))
    return FirstRows(found, [record for record in records_of(renamed) if record is not None])


def columns_of(pinned: PinnedSource) -> list[str]:
    """The columns of the first file of a source that has rows; [] where none has."""
    first = first_rows(pinned, WantedRows(num_rows_per_part=1, text=()).options)
    return [] if first is None else first[1].schema.names[:-1]


def wanted_rows(
    needed: Collection[str], columns: Mapping[str, str], num_rows_per_part: int, *, optional: Collection[str] = ()
) -> WantedRows:
    """What is read of a table: all its columns, as records in one column; `needed` and `optional` ones are guessed."""
    return WantedRows(
        num_rows_per_part=num_rows_per_part,
        text=(),
        further=(*needed, *optional),
        optional=tuple(optional),
        naming=(RECORD,),
        mapping=dict(columns),
        change=compact_table,
    )
