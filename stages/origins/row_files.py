"""Reads the files of a source once, in any format, into stretches of rows that later parts read one by one.

    rows.bin   Parquet files laid end to end, one for each stretch of `num_rows_per_part` rows: the task of a later part
               says where its stretch lies, so that it is read by one range, whatever the size of the whole
    ids.bin    ids of the rows, by which repeated ones are found (stages/origins/repeats.py)

Memory: a stretch and a batch. A part takes one piece of a large file, or many small files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.contract import Part, PartDraft, PartFacts, PartTask, PinnedFile, PinnedSource, StageError
from stages.origins.columns import NO_COLUMN, match_columns, name_columns
from stages.origins.files import open_file
from stages.origins.json_values import json_values
from stages.origins.pieces import FilePiece, piece_batches, table_files
from stages.origins.repeats import IDS_FILE, IdWriter
from stages.origins.sample_id import sample_id
from stages.origins.tables.batches import is_json_text, plain_values
from stages.origins.tables.formats import TableOptions, format_of
from stages.origins.tables.row_batches import MALFORMED, encoded, json_text, text_array
from stages.origins.tables.text_lines import LINE
from stages.origins.tables.unite import SchemaUnion, conformed, united

if TYPE_CHECKING:
    import pyarrow as pa

TABULATED_FILE = "rows.bin"
"""The stretches of rows of one part, end to end."""
COMPRESSED_ROW_BYTES = 16
"""Least bytes of a row in a file, for the estimate of rows by which memory is bounded."""
MAX_GROUP_PIECES = 1000
"""Most files read in one part: each is opened by a request or two."""
_WITH_HEADERS = frozenset({"parquet", "csv", "tsv"})
"""Kinds of files that have all their columns in every row; in JSON a row may lack some."""


@dataclass(frozen=True, kw_only=True)
class WantedRows:
    """What a stage wants of a table, and how it is cut."""

    num_rows_per_part: int
    """Rows of a part of the last phase; the last one of some files may have fewer."""
    text: tuple[str, ...]
    """Columns that must be text. Numbers are read as they are spelled."""
    further: tuple[str, ...] = ()
    """Wanted columns of any type."""
    optional: tuple[str, ...] = ()
    """Those of both that a table may lack."""
    naming: tuple[str, ...] = ()
    """Columns that a sample id is hashed from, in this order."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """The recipe's `columns`: name here to name in the table."""
    options: TableOptions = field(default_factory=TableOptions)
    """What files do not say about themselves."""
    carry: bool = True
    """Whether the other columns are carried along."""
    reserved: frozenset[str] = frozenset()
    """Names that a column that is carried along may not have."""
    change: Callable[[pa.Table], pa.Table] | None = None
    """What is made of the rows before they are kept and named, such as pictures replaced by their names. Pickles, looks
    at each row alone, makes one row or several of it, and keeps the column `MALFORMED`."""

    def match(self, found: Sequence[str], where: str) -> dict[str, str]:
        """Wanted column to the table's name of it. Raises `StageError` in words."""
        wanted, mapping = [*self.text, *self.further], self.mapping
        if list(found) == [LINE]:
            # A text file has one column, so the others that must be text are empty: a list of URLs has no captions.
            absent = dict.fromkeys((name for name in self.text[1:] if name not in self.optional), NO_COLUMN)
            mapping = {**absent, **mapping} if self.text[0] not in self.optional else mapping
        matched = match_columns(wanted, found, mapping, optional=self.optional, where=where)
        self.name(found, matched, where)
        return matched

    def name(self, found: Sequence[str], matched: Mapping[str, str], where: str) -> dict[str, str]:
        """Name here to name in the table of all columns that are read. Raises `StageError` in words."""
        there = {ours: theirs for ours, theirs in matched.items() if theirs in found}
        if not self.carry:
            return there
        return name_columns(found, there, self.mapping, self.reserved, where)


class FileGroup(PartTask):
    """The task of a part that reads files."""

    pieces: list[FilePiece]
    """Files, or one piece of a file, in the order of the source."""


class TabulatedFacts(PartFacts):
    """What such a part records."""

    num_rows: int
    """Rows that were read, malformed ones included."""
    ends: list[int]
    """Offset in `rows.bin` behind each stretch."""
    table_schema: str
    """Columns of all its rows, as an Arrow schema in base64."""
    columns: dict[str, str]
    """Wanted column to the table's own name of it: what was guessed, or mapped by the recipe."""

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of `table_schema`."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.table_schema)))


def read_files(part: Part, draft: PartDraft, place: str, wanted: WantedRows, matched: Mapping[str, str]) -> None:
    """Read the files of one part into stretches of rows, and note the ids of their rows."""
    pieces = FileGroup.of(part).pieces
    num_rows = sum(piece.size_bytes for piece in pieces) // COMPRESSED_ROW_BYTES
    with draft.path(TABULATED_FILE).open("wb") as file, IdWriter(draft.scratch / "ids", num_rows) as ids:
        stretches = _StretchWriter(file, wanted.num_rows_per_part)
        for piece in pieces:
            with open_file(place, piece.file) as opened:
                for batch in piece_batches(opened, piece, wanted.options):
                    table = _renamed(batch, piece.file, wanted, matched)
                    table = wanted.change(table) if wanted.change else table
                    ids.add([sample_id("", fields) for fields in zip(*_naming_columns(table, wanted), strict=True)])
                    stretches.add(piece.file.path, table)
                    draft.progress(stretches.num_rows)
        stretches.close()
        ids.write(draft.path(IDS_FILE))
    schema = base64.b64encode(stretches.union.schema.serialize().to_pybytes()).decode()
    facts = TabulatedFacts(num_rows=stretches.num_rows, ends=stretches.ends, table_schema=schema, columns=dict(matched))
    draft.fact(**facts.dump())


def first_rows(pinned: PinnedSource, options: TableOptions) -> tuple[str, pa.RecordBatch] | None:
    """Path and first batch of the first file with rows; None where no file has any. Reads little."""
    for file in table_files(pinned):
        with open_file(pinned.place, file) as opened:
            for batch in piece_batches(opened, FilePiece(file=file), options):
                return file.path, batch
    return None


def _renamed(batch: pa.RecordBatch, file: PinnedFile, wanted: WantedRows, matched: Mapping[str, str]) -> pa.Table:
    """The columns under their names here; wanted text as text, and empty text where there is said to be no column."""
    import pyarrow as pa

    found = [name for name in batch.schema.names if name != MALFORMED]
    missing = [theirs for theirs in matched.values() if theirs != NO_COLUMN and theirs not in found]
    if missing and format_of(file.path).kind in _WITH_HEADERS:
        raise StageError(
            f"{file.path} has no column {missing[0]!r}, which the first file of the source has; its columns are "
            f"{', '.join(map(repr, found))}. Make two sources of files with different columns"
        )
    columns: dict[str, tuple[pa.Field, pa.Array]] = {}
    for ours, theirs in wanted.name(found, matched, file.path).items():
        number = batch.schema.get_field_index(theirs)
        one, column = batch.schema.field(number), batch.column(number)
        if ours in wanted.text:
            one, column = pa.field(ours, pa.string()), _as_text(column, one, ours, file.path)
        columns[ours] = one.with_name(ours), column
    for ours, theirs in matched.items():
        if theirs == NO_COLUMN:
            columns[ours] = pa.field(ours, pa.string()), pa.array([""] * batch.num_rows, pa.string())
    columns[MALFORMED] = pa.field(MALFORMED, pa.string()), batch.column(batch.num_columns - 1)
    schema = pa.schema([one for one, _ in columns.values()])
    return pa.Table.from_arrays([column for _, column in columns.values()], schema=schema)


def _as_text(column: pa.Array, one: pa.Field, ours: str, path: str) -> pa.Array:
    import pyarrow as pa
    from pyarrow import types

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    kind = column.type
    if is_json_text(one):
        return text_array([_scalar_text(value) for value in plain_values(column, one)])
    if types.is_string(kind) or types.is_null(kind):
        return column if types.is_string(kind) else column.cast(pa.string())
    if types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return column.cast(pa.large_binary()).cast(pa.binary()).view(pa.string())
    if types.is_nested(kind) or types.is_fixed_size_binary(kind):
        raise StageError(
            f"column {one.name!r} of {path} is {one.type}, and is wanted as {ours!r}, which must be text; write it as "
            f"text, or name the column that is meant: columns={{{ours!r}: '...'}}"
        )
    if types.is_temporal(kind):  # null where it cannot be spelled: beyond the calendar
        return pa.array(json_values(column, one)[0], pa.string())
    return column.cast(pa.string())


def _scalar_text(value: object) -> bytes | None:
    """The text of a JSON value: a number as it is spelled, and none for a list or an object."""
    if isinstance(value, str):
        return encoded(value)
    return None if value is None or isinstance(value, list | dict) else json_text(value)


def _naming_columns(table: pa.Table, wanted: WantedRows) -> list[list[bytes | None]]:
    return [naming_values(table, name) for name in wanted.naming]


def naming_values(table: pa.Table, name: str) -> list[bytes | None]:
    """The values of a column as bytes, from which sample ids are hashed: text as it is, any other as JSON text."""
    import pyarrow as pa
    from pyarrow import types

    number = table.schema.get_field_index(name)
    if number < 0:
        return [None] * table.num_rows
    column = table.column(number)
    if types.is_string(column.type) or types.is_large_string(column.type):
        texts: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
        return texts
    values = plain_values(column, table.schema.field(number))
    return [None if value is None else json_text(value) for value in map(_jsonable, values)]


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


@dataclass
class _StretchWriter:
    """Cuts tables into stretches of rows and writes each as a Parquet file behind the one before."""

    file: BinaryIO
    num_rows_per_part: int
    ends: list[int] = field(default_factory=list)
    num_rows: int = 0
    union: SchemaUnion = field(default_factory=SchemaUnion)
    _waiting: list[tuple[str, pa.Table]] = field(default_factory=list)
    _num_waiting: int = 0

    def add(self, path: str, table: pa.Table) -> None:
        """Add the next rows, which come from the file `path`."""
        self.union.add(path, table.schema)
        self.num_rows += table.num_rows
        while self._num_waiting + table.num_rows >= self.num_rows_per_part:
            taken = self.num_rows_per_part - self._num_waiting
            self._write([*self._waiting, (path, table.slice(0, taken))])
            table = table.slice(taken)
        if table.num_rows:
            self._waiting.append((path, table))
            self._num_waiting += table.num_rows

    def close(self) -> None:
        """Write the rows that are left."""
        if self._waiting:
            self._write(self._waiting)

    def _write(self, tables: Sequence[tuple[str, pa.Table]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = united((path, table.schema) for path, table in tables)
        stretch = pa.concat_tables([conformed(table, schema) for _, table in tables])
        sink = io.BytesIO()
        pq.write_table(stretch, sink, compression="zstd")
        self.file.write(sink.getvalue())
        self.ends.append(self.file.tell())
        self._waiting, self._num_waiting = [], 0


def groups_of(pieces: Iterable[FilePiece], group_bytes: int) -> Iterator[list[FilePiece]]:
    """Consecutive pieces, so many that a group has `group_bytes` or `MAX_GROUP_PIECES`; the last one may have fewer."""
    group: list[FilePiece] = []
    size_bytes = 0
    for piece in pieces:
        group.append(piece)
        size_bytes += piece.size_bytes
        if size_bytes >= group_bytes or len(group) == MAX_GROUP_PIECES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
