"""Sample tables: Parquet files in which every item that entered has a row, a verdict and a reason.

Owns what such tables share: the type of a sample id, the three verdicts, bytes that two undisturbed runs agree on,
and the item balance that follows from the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from stages.artifact import ItemBalance

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ID_BYTES = 16


class Verdict(StrEnum):
    """How an item ended."""

    KEPT = "kept"
    DROPPED = "dropped"
    """Not wanted; another try would not change that."""
    FAILED = "failed"
    """Wanted, and not to be had."""


def sample_id_type() -> pa.DataType:
    """The column type of sample ids: 16 bytes."""
    import pyarrow as pa

    return pa.binary(SAMPLE_ID_BYTES)


def verdict_columns(reasons: Sequence[tuple[Verdict, str | None]]) -> tuple[pa.Array, pa.Array]:
    """The columns `verdict` and `reason`, one row for each item; the reason is null for what is kept."""
    import pyarrow as pa

    verdicts = pa.array([verdict.value for verdict, _ in reasons], pa.string())
    return verdicts, pa.array([reason for _, reason in reasons], pa.string())


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


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet whose bytes follow from the rows alone (and the version of pyarrow, which manifests record)."""
    import pyarrow.parquet as pq

    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", row_group_size=65_536)
