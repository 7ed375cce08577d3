"""Values of any Arrow column as JSON, by type: lists as lists, structs as objects, bytes in base64, times as text.

What JSON cannot spell (NaN, text that is no UTF-8, a date beyond Python's calendar in a zone nobody knows) becomes null
and is counted. Nothing is read through `repr`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from stages.origins.tables.batches import is_json_text

if TYPE_CHECKING:
    import pyarrow as pa


def json_rows(table: pa.Table) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows of a table as JSON objects, and column to the number of its values that JSON cannot spell."""
    unspelled: dict[str, int] = {}
    columns: dict[str, Sequence[Any]] = {}
    for number, field in enumerate(table.schema):
        values, num_unspelled = json_values(table.column(number), field)
        columns[field.name] = values
        if num_unspelled:
            unspelled[field.name] = num_unspelled
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return rows, unspelled


def json_values(column: pa.ChunkedArray, field: pa.Field) -> tuple[list[Any], int]:
    """The values of a column as JSON, and how many of them JSON cannot spell."""
    spelled = _spelled(column, is_json=is_json_text(field))
    num_lost = sum(value is _LOST for value in spelled)
    return [_without_lost(value) for value in spelled], num_lost


_OUT_OF_RANGE: Final = "<value out of range"
"""How Arrow spells a time that it cannot spell."""


class _Lost:
    """Stands for a value that JSON cannot spell."""


_LOST = _Lost()


def _without_lost(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_lost(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_lost(item) for key, item in value.items()}
    return None if value is _LOST else value


def _spelled(column: pa.ChunkedArray | pa.Array, *, is_json: bool = False) -> list[Any]:
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in _chunks(column)], kind.storage_type)
    elif types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    kind = column.type
    if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return [
            _LOST if isinstance(value, float) and not math.isfinite(value) else value for value in column.to_pylist()
        ]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return [_text(text, is_json) for text in column.cast(pa.large_binary()).to_pylist()]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()]
    return _spelled_nested(column) if types.is_nested(kind) else _cast_to_text(column)


def _chunks(column: pa.ChunkedArray | pa.Array) -> Sequence[pa.Array]:
    return column.chunks if hasattr(column, "chunks") else [column]


def _text(text: bytes | None, is_json: bool) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text) if is_json else text.decode()
    except ValueError:
        return _LOST


def _spelled_nested(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    return [value for chunk in _chunks(column) for value in _spelled_array(chunk)]


def _spelled_array(array: pa.Array) -> list[Any]:
    """Lists, maps (as lists of pairs) and structs; null where the array is null."""
    import pyarrow as pa
    from pyarrow import types

    kind = array.type
    is_valid = array.is_valid().to_pylist()
    if types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        columns = [_spelled(array.field(number)) for number in range(kind.num_fields)]
        rows = zip(*columns, strict=True) if columns else ([] for _ in is_valid)
        return [
            dict(zip(names, row, strict=True)) if valid else None for row, valid in zip(rows, is_valid, strict=True)
        ]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = array.value_lengths().to_pylist()
        items = iter(_spelled(array.flatten()))
        return [
            [next(items) for _ in range(length or 0)] if valid else None
            for length, valid in zip(lengths, is_valid, strict=True)
        ]
    if types.is_map(kind):
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        maps = _spelled_nested(array.cast(pa.list_(entry)))
        return [None if one is None else [list(pair.values()) for pair in one] for one in maps]
    return [None if not valid else _LOST for valid in is_valid]


def _cast_to_text(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """Decimals, dates, times and durations as Arrow spells them; in UTC where the zone is not known here."""
    import pyarrow as pa
    from pyarrow import types

    for attempt in (column, _in_utc(column) if types.is_timestamp(column.type) else None):
        if attempt is None:
            continue
        try:
            texts = attempt.cast(pa.string()).to_pylist()
            return [_LOST if text is not None and text.startswith(_OUT_OF_RANGE) else text for text in texts]
        except pa.ArrowException:
            pass
    return [None if not valid else _LOST for valid in column.is_valid().to_pylist()]


def _in_utc(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    import pyarrow as pa

    return column.cast(pa.int64()).cast(pa.timestamp(column.type.unit))
