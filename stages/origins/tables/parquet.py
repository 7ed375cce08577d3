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
                errors = pa.nulls(batch.num_rows, pa.string())
                fields = [plain_field(one) for one in batch.schema]
                columns = [
                    column if column.type == one.type else column.cast(one.type)
                    for column, one in zip(batch.columns, fields, strict=True)
                ]
                schema = pa.schema([*fields, pa.field(MALFORMED, pa.string())])
                yield pa.RecordBatch.from_arrays([*columns, errors], schema=schema)
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
    """The field with the type of its values where it is a dictionary, and without metadata."""
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    kind = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(kind, kind)
    return pa.field(field.name, kind)


def _batch_rows(opened: pq.ParquetFile, group: int) -> int:
    """Rows of a batch of a row group: fewer where rows are large, as those with pictures are."""
    meta = opened.metadata.row_group(group)
    row_bytes: int = max(1, meta.total_byte_size // max(1, meta.num_rows))
    return max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
