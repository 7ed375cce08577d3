"""Reads JSON files: a list of objects, an object that holds one list of objects, or JSON lines under the name `.json`.

A list is streamed, whatever its length. A file that is no JSON at some place cannot be read behind it, so the whole
file is refused by name.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.contract import StageError
from stages.origins.tables.byte_streams import MAX_ROW_BYTES, text_bytes
from stages.origins.tables.json_lines import read_json_lines
from stages.origins.tables.row_batches import JsonRows

if TYPE_CHECKING:
    import pyarrow as pa

MEAN_VALUE_BYTES = 32
"""Guess of the memory of one JSON value, by which batches are bounded."""


def read_json_list(file: BinaryIO, name: str) -> Iterator[pa.RecordBatch]:
    """Batches of the objects of the file's list. Raises `StageError` where there is no such list, or several."""
    text = text_bytes(file)
    first = _first_char(text)
    if first == b"":
        return
    if first == b"{" and _is_lines(text):
        yield from read_json_lines(text)
        return
    if first not in (b"[", b"{"):
        raise StageError(f"{name} begins with {first!r}; a JSON file must hold a list of objects, or one in an object")
    batch = JsonRows()
    for number, (value, size_bytes) in enumerate(_items(text, name, is_list=first == b"[")):
        batch.add(value, size_bytes, f"item {number}")
        if batch.is_full:
            yield batch.take()
    if batch.rows:
        yield batch.take()


def _first_char(text: io.BufferedReader[Any]) -> bytes:
    """The first character that is not white space; what is before it is skipped."""
    while head := text.peek(1):
        stripped = head.lstrip()
        text.read(len(head) - len(stripped))
        if stripped:
            return stripped[:1]
    return b""


def _is_lines(text: io.BufferedReader[Any]) -> bool:
    """Whether the first line, as far as it can be looked at, is a whole object and another one follows it."""
    line, end, rest = text.peek(MAX_ROW_BYTES).partition(b"\n")
    if not end:
        return False
    try:
        json.loads(line.decode(errors="surrogateescape"))
    except ValueError:
        return False
    return rest.lstrip().startswith(b"{")


def _items(text: io.BufferedReader[Any], name: str, *, is_list: bool) -> Iterator[tuple[Any, int]]:
    """The items of the one list, with a guess of their size in bytes. Raises `StageError`."""
    import ijson

    prefix, lists = ("item" if is_list else None), []
    builder, num_values = None, 0
    try:
        for where, event, value in ijson.parse(text, use_float=True):
            if not is_list and event == "start_array" and "." not in where and where and builder is None:
                lists.append(where)
                prefix = f"{where}.item"
            if builder is None and where == prefix and event not in ("end_map", "end_array"):
                builder, num_values = ijson.ObjectBuilder(), 0
            if builder is not None:
                builder.event(event, value)
                num_values += 1 + (len(value) // MEAN_VALUE_BYTES if isinstance(value, str) else 0)
                if where == prefix and event not in ("start_map", "start_array", "map_key"):
                    yield builder.value, num_values * MEAN_VALUE_BYTES
                    builder = None
            if len(lists) > 1:
                raise StageError(f"{name} holds several lists, {lists}; leave only the one that is to be read")
    except ijson.JSONError as error:
        raise StageError(f"{name} is no JSON: {error}; nothing of it was taken") from error
    if not is_list and not lists:
        raise StageError(f"{name} holds one object and no list; a JSON file must hold a list of objects")
