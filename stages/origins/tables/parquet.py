"""Reads Parquet of any schema, a row group at a time and of that a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from stages.contract import StageError
from stages.origins.tables.row_batches import BATCH_BYTES, BATCH_ROWS, MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def read_parquet(file: BinaryIO, name: str, row_groups: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of all columns, of the numbered row groups or of all. Raises `StageError` where the file is damaged."""
    import pyarrow as pa

    opened = open_parquet(file, name)
    groups = range(opened.num_row_groups) if row_groups is None else row_groups
    for group in groups:
        try:
            for batch in opened.iter_batches(_batch_rows(opened, group), [group], use_threads=False):
                plain = cast_columns(batch, pa.schema([plain_field(one) for one in batch.schema]))
                yield plain.append_column(MALFORMED, pa.nulls(batch.num_rows, pa.string()))
        except (pa.ArrowException, OSError) as error:
            raise StageError(f"{name}: row group {group} cannot be read: {error}") from error


def open_parquet(file: BinaryIO, name: str) -> pq.ParquetFile:
    """The opened file, of which the footer was read. Raises `StageError` where it is no Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise StageError(f"{name} is no Parquet file, or it is damaged: {error}") from error


def plain_field(field: pa.Field) -> pa.Field:
    """The field with the type of its values where it is a dictionary, without views and metadata."""
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, without_views(kind))


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type with large text and binary in the place of views at any depth, of which Arrow cannot take rows."""
    import pyarrow as pa
    from pyarrow import types

    plain: pa.DataType = kind
    if types.is_string_view(kind) or types.is_binary_view(kind):
        plain = pa.large_string() if types.is_string_view(kind) else pa.large_binary()
    elif not _has_views(kind):
        plain = kind
    elif types.is_dictionary(kind):
        plain = without_views(kind.value_type)
    elif types.is_struct(kind):
        plain = pa.struct([one.with_type(without_views(one.type)) for one in kind])
    elif types.is_map(kind):
        plain = pa.map_(without_views(kind.key_type), without_views(kind.item_type))
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = kind.value_field.with_type(without_views(kind.value_type))
        size = kind.list_size if types.is_fixed_size_list(kind) else -1
        plain = pa.large_list(item) if types.is_large_list(kind) else pa.list_(item, size)
    return plain


def _has_views(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _has_views(kind.value_type)
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return types.is_string_view(kind) or types.is_binary_view(kind) or any(map(_has_views, inner))


def cast_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the types of `schema`, which names the same columns."""
    import pyarrow as pa

    columns = [
        column if column.type == one.type else column.cast(one.type)
        for column, one in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _batch_rows(opened: pq.ParquetFile, group: int) -> int:
    """Rows of a batch of a row group: fewer where rows are large, as those with pictures are."""
    meta = opened.metadata.row_group(group)
    row_bytes: int = max(1, meta.total_byte_size // max(1, meta.num_rows))
    return max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
