"""Reads text files: a row for each line that is not empty, or one row for the whole file, in the column `line`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from stages.origins.tables.byte_streams import MAX_ROW_BYTES, lines, text_bytes
from stages.origins.tables.formats import TableOptions
from stages.origins.tables.row_batches import TextRows, malformed

if TYPE_CHECKING:
    import pyarrow as pa

LINE: Final = "line"
"""The one column of a text file."""


def read_text_lines(file: BinaryIO, options: TableOptions) -> Iterator[pa.RecordBatch]:
    """Batches of the lines, without their ends and without empty ones; of the whole text with `txt_rows="file"`."""
    text = text_bytes(file)
    batch = TextRows([LINE])
    if options.txt_rows == "file":
        whole = text.read(MAX_ROW_BYTES + 1)
        is_long = len(whole) > MAX_ROW_BYTES
        error = malformed("file", f"more than {MAX_ROW_BYTES} bytes", whole) if is_long else None
        batch.add([whole], error)
        yield batch.take()
        return
    for number, line in lines(text):
        if line is None:
            batch.add([b""], malformed(f"line {number}", f"more than {MAX_ROW_BYTES} bytes"))
        elif line.strip():
            batch.add([line])
        if batch.is_full:
            yield batch.take()
    if batch.rows:
        yield batch.take()
