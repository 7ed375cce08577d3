"""Columns that verdicts give the rows that they judge: captions, scores and texts beside those of the raw artifact.

Owns how such columns and those of the judged rows become one table. Which rows they are is known to `kept_rows.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def with_given(rows: pa.Table, given: pa.Table) -> pa.Table:
    """`rows` with the columns of `given`, row by row: in place of those of the same name where they are not null.

    A row whose given value is null keeps its own value, cast to the type of the given column where that is another.
    Raises `pyarrow.ArrowInvalid` where it cannot be cast.
    """
    import pyarrow.compute as pc

    for name in given.column_names:
        values = given[name]
        if name not in rows.column_names:
            rows = rows.append_column(name, values)
            continue
        if values.null_count:
            values = pc.coalesce(values, rows[name].cast(values.type))
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return rows
