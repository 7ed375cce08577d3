"""Writes and reads sample tables: Parquet files with a row, a verdict and a reason for every item that entered.

Owns what such tables share: the type of a sample id, the three verdicts, reproducible bytes, and the item balance that
follows from the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from stages.artifacts.records import ItemBalance, PartRecord
from stages.artifacts.taken_over import superseded_reasons
from stages.contract import StageError

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ID_BYTES = 16
"""Length of a sample id, in bytes."""


class Verdict(StrEnum):
    """How an item ended."""

    KEPT = "kept"
    """Passed on to the next stage."""
    DROPPED = "dropped"
    """Not wanted; a retry would not change that."""
    FAILED = "failed"
    """Wanted but not obtained."""


class ItemReason(StrEnum):
    """Why an item was not kept; each stage lists its own reasons. A reason has one verdict, the same in all rows."""

    verdict: Verdict
    """Verdict on items with this reason."""
    retriable: bool
    """Whether a retry, now or next week, may end otherwise."""

    def __new__(cls, value: str, verdict: Verdict = Verdict.DROPPED, retriable: bool = False) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.verdict = verdict
        member.retriable = retriable
        return member

    @classmethod
    def spelled(cls, text: str) -> Self:
        """The reason with this value, as a column `reason` holds it. Raises `KeyError`."""
        return cls[text.upper()]


def sample_id_type() -> pa.DataType:
    """The column type of sample ids: 16 bytes."""
    import pyarrow as pa

    return pa.binary(SAMPLE_ID_BYTES)


def verdict_columns(reasons: Sequence[ItemReason | None]) -> dict[str, pa.Array]:
    """The columns `verdict` and `reason`, a row for each item. An item with the reason None is kept."""
    import pyarrow as pa

    verdicts = [(Verdict.KEPT if reason is None else reason.verdict).value for reason in reasons]
    return {
        "verdict": pa.array(verdicts, pa.string()),
        "reason": pa.array([reason and reason.value for reason in reasons], pa.string()),
    }


def balance_of(table: pa.Table) -> ItemBalance:
    """The item balance of a table with the columns `verdict` and `reason`."""
    counted = table.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).sort_by("reason").to_pylist()
    by_verdict = {
        verdict: {row["reason"]: row["count_all"] for row in counted if row["verdict"] == verdict}
        for verdict in Verdict
    }
    return ItemBalance(
        kept=sum(by_verdict[Verdict.KEPT].values()),
        dropped=by_verdict[Verdict.DROPPED],
        failed=by_verdict[Verdict.FAILED],
    )


def with_columns(rows: pa.Table, others: pa.Table) -> pa.Table:
    """`rows` with the columns of `others`, row by row, in the place of those of the same name."""
    for name in others.column_names:
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, others[name])
        else:
            rows = rows.append_column(name, others[name])
    return rows


def without_superseded(table: pa.Table, part: PartRecord) -> pa.Table:
    """Rows of the sample table of a part, without those whose verdict stands in a later part."""
    return without_reasons(table, superseded_reasons(part))


def without_reasons(table: pa.Table, reasons: Collection[str]) -> pa.Table:
    """Rows of a sample table, without those that ended for one of these reasons."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not reasons:
        return table
    return table.filter(pc.invert(pc.is_in(table["reason"], value_set=pa.array(sorted(reasons), pa.string()))))


def text_column(table: pa.Table, name: str, whose: str) -> list[bytes | None]:
    """A column of text as bytes, because text in Parquet need not be UTF-8. Raises `StageError` if it is no text."""
    import pyarrow as pa
    from pyarrow import types

    kind = table[name].type if name in table.column_names else None
    if kind is None or not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise StageError(f"column {name!r} of the {whose} is {kind or 'missing'}; it must be text")
    texts: list[bytes | None] = table[name].cast(pa.large_binary()).to_pylist()
    return texts


def read_table(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """A table from the bytes of its Parquet file: the named columns, in the order of `columns`, or all.

    Raises `KeyError` for a column that the table does not have.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # In this thread alone, as everywhere that Arrow reads an object of Python's: a thread of Arrow's that lets go of
    # the last reference while Python exits is ended by it, and takes the process with it (SIGABRT).
    file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
    table = file.read(None if columns is None else list(columns), use_threads=False)
    return table if columns is None else table.select(list(columns))


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet whose bytes follow from the rows alone (and the version of pyarrow, which manifests record)."""
    import pyarrow.parquet as pq

    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", row_group_size=65_536)
