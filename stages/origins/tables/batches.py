"""Reads any table: batches of Arrow columns, rows as plain values, or the schema alone.

Memory is bounded by a batch: `BATCH_ROWS` rows or `BATCH_BYTES`, and by the longest row.
"""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from stages.contract import StageError
from stages.origins.tables.byte_streams import decompressed, text_bytes
from stages.origins.tables.delimited import read_delimited, read_header
from stages.origins.tables.formats import TableFormat, TableOptions
from stages.origins.tables.json_lines import read_json_lines
from stages.origins.tables.json_lists import read_json_list
from stages.origins.tables.parquet import open_parquet, plain_field, read_parquet
from stages.origins.tables.row_batches import JSON_MARK, MALFORMED
from stages.origins.tables.text_lines import LINE, read_text_lines

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULTS = TableOptions()
SEPARATORS = {"csv": ",", "tsv": "\t"}


def read_batches(
    file: BinaryIO, table_format: TableFormat, options: TableOptions = DEFAULTS, *, name: str = "the file"
) -> Iterator[pa.RecordBatch]:
    """The rows of a table as batches, each with the column `MALFORMED` behind its own.

    Columns of CSV, TSV and text files are text. In JSON a column whose values are text is text; any other holds JSON
    text, and its field is marked with `JSON_MARK`. Batches of JSON have the columns that their rows have. `name` is
    how errors call the file. Raises `StageError` where the file is damaged or of another format.
    """
    with damage_named(name):
        yield from _batches(file, table_format, options, name)


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn what decompressors and Arrow raise about damaged bytes into a `StageError` that names the file."""
    import pyarrow as pa

    try:
        yield
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, pa.ArrowException, OSError) as error:
        # Errors of the disk and the network have a number, and those of decompressors have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise StageError(f"{name} cannot be read to its end: {error}; it is damaged or cut short") from error


def _batches(file: BinaryIO, table_format: TableFormat, options: TableOptions, name: str) -> Iterator[pa.RecordBatch]:
    if table_format.kind == "parquet" and not table_format.compression:
        yield from read_parquet(file, name)
        return
    plain = decompressed(file, table_format.compression)
    if table_format.kind == "parquet":
        with _local_copy(plain) as copy:
            yield from read_parquet(copy, name)
    elif table_format.kind == "jsonl":
        yield from read_json_lines(text_bytes(plain))
    elif table_format.kind == "json":
        yield from read_json_list(plain, name)
    elif table_format.kind == "txt":
        yield from read_text_lines(plain, options)
    else:
        yield from read_delimited(plain, name, SEPARATORS[table_format.kind], options)


def read_schema(
    file: BinaryIO, table_format: TableFormat, options: TableOptions = DEFAULTS, *, name: str = "the file"
) -> pa.Schema:
    """The columns of a table, without `MALFORMED`; those of JSON are the columns of its first rows. Reads little."""
    import pyarrow as pa

    if table_format.kind == "parquet" and not table_format.compression:
        return pa.schema([plain_field(one) for one in open_parquet(file, name).schema_arrow])
    if table_format.kind == "txt":
        return pa.schema([(LINE, pa.string())])
    if table_format.kind in SEPARATORS:
        plain = decompressed(file, table_format.compression)
        with damage_named(name):
            header = read_header(plain, name, SEPARATORS[table_format.kind], options)
        return pa.schema([(one, pa.string()) for one in header])
    first = next(read_batches(file, table_format, options, name=name), None)
    return pa.schema([]) if first is None else pa.schema([one for one in first.schema if one.name != MALFORMED])


def read_rows(
    file: BinaryIO, table_format: TableFormat, options: TableOptions = DEFAULTS, *, name: str = "the file"
) -> Iterator[dict[str, Any]]:
    """The rows of a table as dictionaries of plain values; a malformed one has the key `MALFORMED` alone.

    Text that is no UTF-8 comes as `bytes`. Slower than `read_batches`: for small tables and for looking at some rows.
    """
    for batch in read_batches(file, table_format, options, name=name):
        errors = batch.column(batch.num_columns - 1).to_pylist()
        columns = [plain_values(batch.column(number), one) for number, one in enumerate(batch.schema)][:-1]
        names = batch.schema.names[:-1]
        for number, error in enumerate(errors):
            if error is None:
                yield {key: column[number] for key, column in zip(names, columns, strict=True)}
            else:
                yield {MALFORMED: error}


def plain_values(column: pa.Array | pa.ChunkedArray, field: pa.Field, *, decodes_all: bool = False) -> list[Any]:
    """The values of a column: JSON text parsed, text that is no UTF-8 as `bytes`, and all else as `held_values`.

    `decodes_all` raises `UnicodeDecodeError` for text in lists and structs that is no UTF-8, which is None otherwise.
    """
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return held_values(column, raised=UnicodeDecodeError if decodes_all else ())
    is_json = is_json_text(field)
    return [_plain(value, is_json) for value in column.cast(pa.large_binary()).to_pylist()]


_NOT_HELD = (ValueError, OverflowError, LookupError)
Raised: TypeAlias = "type[Exception] | tuple[()]"


def held_values(column: pa.Array | pa.ChunkedArray, *, raised: Raised = ()) -> list[Any]:
    """The values of a column; None for what Python cannot hold: a day of the year 10000, a time in an unknown zone.

    Errors that are `raised` are let through.
    """
    try:
        return list(column.to_pylist())
    except raised:
        raise
    except _NOT_HELD:
        return [_held(value, raised) for value in column]


def held_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table that may have any columns, by their names."""
    columns = map(held_values, table.columns)
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _held(value: pa.Scalar, raised: Raised) -> Any:
    try:
        return value.as_py()
    except raised:
        raise
    except _NOT_HELD:
        return None


def is_json_text(field: pa.Field) -> bool:
    """Whether the values of a column are JSON text."""
    return bool(field.metadata) and JSON_MARK in field.metadata


def _plain(value: bytes | None, is_json: bool) -> Any:
    if value is None:
        return None
    if is_json:
        return json.loads(value.decode(errors="surrogateescape"))
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


@contextmanager
def _local_copy(file: BinaryIO) -> Iterator[BinaryIO]:
    """A copy on local disk, for Parquet that was compressed as a whole: it is read from its end."""
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)
