"""Rows of the tables of an artifact, by the values of columns: those of a few parts, or of all.

Columns are read by ranges, many tables at a time where an answer of the store takes a round trip; the other columns
of a row are read once it is wanted. Nothing is kept of a table, and nothing is copied to this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipelines.indexes.subjects import Indexed
from pipelines.indexes.tables import PartTable, listed
from pipelines.lineage.sightings import TableRow
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import VERDICTS_FILE
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import with_columns, without_reasons
from stages.origins.json_values import json_values
from stages.store.reader import NUM_READERS
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    Mask: TypeAlias = pa.BooleanArray

IsWanted: TypeAlias = "Callable[[pa.Table], Mask]"
"""Says of each row of a table whether it is wanted."""
NOT_READ: Final = frozenset({"frame_offsets", "frame_sizes_bytes", "frame_sha256", "frame_pts"})
"""Columns of clips that a sighting leaves out: where each of up to hundreds of frames lies."""


def rows_with(
    artifact: Artifact,
    file_name: str,
    columns: Sequence[str],
    values: Iterable[str | bytes],
    parts: frozenset[str] | None = None,
) -> tuple[TableRow, ...]:
    """The rows with one of these values in one of `columns`, each with its `part`; of `parts` alone, if named."""
    tables = part_tables(artifact, file_name)
    wanted = (one for one in tables if parts is None or one.part in parts)
    return tuple(rows_of(artifact, wanted, columns, one_of(sorted(values))))


def part_tables(artifact: Artifact, file_name: str, phase: str = "", prefix: str = "") -> list[PartTable]:
    """The tables of this name, one for each part that has it; of one phase and with names that begin so, if asked."""
    return list(listed(artifact, Indexed(file_name, (), phase, prefix)))


def one_of(values: Sequence[str | bytes]) -> IsWanted:
    """Wants the rows that have one of these values in any column."""

    def is_wanted(table: pa.Table) -> Mask:
        import pyarrow as pa
        import pyarrow.compute as pc

        hits = [pc.is_in(column, value_set=pa.array(values, column.type)) for column in table.columns]
        return reduce(pc.or_, hits)

    return is_wanted


def rows_of(
    artifact: Artifact, tables: Iterable[PartTable], columns: Sequence[str], is_wanted: IsWanted
) -> Iterator[TableRow]:
    """The wanted rows of these tables, in their order, each with its `part`, judged by those of `columns` there are."""
    store = artifact.store

    def read(table: PartTable) -> list[TableRow]:
        return _rows_of(store, table, columns, is_wanted)

    for rows in map(read, tables) if store.folder else ahead(read, tables, NUM_READERS):
        yield from rows


def given_rows_of(
    artifact: Artifact, tables: Iterable[PartTable], columns: Sequence[str], is_wanted: IsWanted
) -> Iterator[TableRow]:
    """The rows whose given columns are wanted: verdicts, which stand row by row beside these, with what was given."""
    import pyarrow.compute as pc

    verdicts: dict[str, PartTable] = {}
    for table in tables:
        given = table.open(artifact.store).read(use_threads=False)
        sought = [name for name in columns if name in given.column_names]
        wanted = is_wanted(given.select(sought)) if sought else None
        if wanted is None or not pc.any(wanted).as_py():
            continue
        verdicts = verdicts or {one.part: one for one in part_tables(artifact, VERDICTS_FILE)}
        rows = with_columns(verdicts[table.part].open(artifact.store).read(use_threads=False), given).filter(wanted)
        yield from ({"part": table.part, **row} for row in plain_rows(rows))


def tables_of(store: Store, tables: Iterable[PartTable], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Those of `columns` that each of these tables has, in order."""

    def read(table: PartTable) -> pa.Table:
        file = table.open(store)
        return file.read([name for name in columns if name in file.schema_arrow.names], use_threads=False)

    return map(read, tables) if store.folder else ahead(read, tables, NUM_READERS)


def _rows_of(store: Store, table: PartTable, columns: Sequence[str], is_wanted: IsWanted) -> list[TableRow]:
    import pyarrow.compute as pc

    file = table.open(store)
    names = file.schema_arrow.names
    sought = [name for name in columns if name in names]
    if not sought:
        return []
    wanted = is_wanted(file.read(sought, use_threads=False))
    if not pc.any(wanted).as_py():
        return []
    whole = file.read([name for name in names if name not in NOT_READ], use_threads=False)
    found = without_reasons(whole.filter(wanted), table.superseded)
    return [{"part": table.part, **row} for row in plain_rows(found)]


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a sample table. Columns of the user's own whose values Python cannot hold are spelled as JSON."""
    import pyarrow as pa

    columns: list[list[Any]] = []
    for number, field in enumerate(table.schema):
        try:
            columns.append(table.column(number).to_pylist())
        except (ValueError, KeyError, OverflowError, pa.ArrowException):
            columns.append(json_values(table.column(number), field)[0])
    return (dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True))
