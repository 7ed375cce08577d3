"""Reads CSV and TSV: every value is text, whatever it looks like, so that files cannot differ in their types.

Quoted line ends, doubled quotes, Windows line ends, byte order marks and bytes that are no UTF-8 are read. A row with
another number of fields than the header is a malformed row. Empty lines are no rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from stages.contract import StageError
from stages.origins.tables.byte_streams import MAX_ROW_BYTES, text_bytes
from stages.origins.tables.formats import TableOptions
from stages.origins.tables.row_batches import TextRows, malformed

if TYPE_CHECKING:
    import pyarrow as pa

# Latin-1 maps each byte to one character and back, so the csv module reads bytes of any encoding.
_BYTES_AS_TEXT: Final = "latin-1"
_END: Final = "\0end of the file\0"
"""A line behind the last one: it is a row of its own, unless a quoted field is still open there."""


def read_delimited(file: BinaryIO, name: str, separator: str, options: TableOptions) -> Iterator[pa.RecordBatch]:
    """Batches of text columns. Raises `StageError` where a quoted field does not end, naming its line."""
    rows = _records(file, name, separator, options)
    first = next(rows, None) if not options.header else None
    if first is None and not options.header:
        return
    header = options.header or _header([value.decode(errors="replace") for value in first[1]] if first else [])
    batch = TextRows(header)
    for line, values in rows:
        row = _fitted(values, len(header))
        error = None
        if len(row) != len(header):
            text = separator.encode().join(values)
            error = malformed(f"line {line}", f"{len(values)} fields, the header has {len(header)}", text)
        batch.add(row, error)
        if batch.is_full:
            yield batch.take()
    if batch.rows:
        yield batch.take()


def read_header(file: BinaryIO, name: str, separator: str, options: TableOptions) -> list[str]:
    """The names of the columns; [] for an empty file. Raises `StageError` like `read_delimited`."""
    if options.header:
        return list(options.header)
    first = next(_records(file, name, separator, options), None)
    return [] if first is None else _header([value.decode(errors="replace") for value in first[1]])


def _header(names: list[str]) -> list[str]:
    """Names without the space around them; a column without a name, as pandas writes its index, gets a number."""
    return [name.strip() or f"unnamed_{number}" for number, name in enumerate(names)]


def _fitted(values: list[bytes], num_fields: int) -> list[bytes]:
    """The fields without the empty ones that separators at the end of a line make."""
    while len(values) > num_fields and not values[-1]:
        values = values[:-1]
    return values


def _records(file: BinaryIO, name: str, separator: str, options: TableOptions) -> Iterator[tuple[int, list[bytes]]]:
    """First line (from 1) and fields of each record."""
    csv.field_size_limit(MAX_ROW_BYTES)
    rows = _lines(file, name)
    reader = (
        csv.reader(rows, delimiter=separator)
        if options.quotes
        else csv.reader(rows, delimiter=separator, quoting=csv.QUOTE_NONE)
    )
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise StageError(f"{name}: line {line} cannot be read ({error}); {_advice(options)}") from error
        if values == [_END]:
            return
        if values and values[-1].endswith(_END):
            raise StageError(
                f"{name}: line {line} opens a quoted field that does not end before the file does; {_advice(options)}"
            )
        if values:
            yield line, [value.encode(_BYTES_AS_TEXT) for value in values]


def _advice(options: TableOptions) -> str:
    return (
        "close the quote, or set `quotes=False` in the recipe where quotes are ordinary characters"
        if options.quotes
        else "look at that line of the file"
    )


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    text = io.TextIOWrapper(text_bytes(file), _BYTES_AS_TEXT, newline="")
    while line := text.readline(MAX_ROW_BYTES):
        if len(line) == MAX_ROW_BYTES:
            raise StageError(f"{name} has a line of more than {MAX_ROW_BYTES} bytes, so it is no CSV or TSV file")
        yield line
    yield _END
