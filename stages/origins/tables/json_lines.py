"""Reads JSONL: one JSON object a line. A line that is none is a malformed row; empty lines are no rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stages.origins.tables.byte_streams import MAX_ROW_BYTES, lines
from stages.origins.tables.row_batches import JsonRows, malformed

if TYPE_CHECKING:
    import pyarrow as pa


def read_json_lines(file: io.BufferedReader[Any]) -> Iterator[pa.RecordBatch]:
    """Batches of the objects of a stream without byte order mark."""
    batch = JsonRows()
    for number, line in lines(file):
        where = f"line {number}"
        if line is None:
            batch.add_error(malformed(where, f"more than {MAX_ROW_BYTES} bytes"))
        elif line.strip():
            _add(batch, line, where)
        if batch.is_full:
            yield batch.take()
    if batch.rows:
        yield batch.take()


def _add(batch: JsonRows, line: bytes, where: str) -> None:
    try:
        value = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        batch.add_error(malformed(where, f"no JSON ({error})", line))
    else:
        batch.add(value, len(line), where)
