"""Sample tables: the balance is what the rows say, and equal rows give equal bytes."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from stages.artifacts.records import ItemBalance
from stages.contract import StageError
from stages.formats.sample_table import (
    ItemReason,
    Verdict,
    balance_of,
    read_table,
    text_column,
    verdict_columns,
    write_table,
)


class Why(ItemReason):
    DULL = "dull"
    LOST = "lost", Verdict.FAILED, True


def table(reasons: list[Why | None]) -> pa.Table:
    return pa.table({"number": range(len(reasons)), **verdict_columns(reasons)})


def test_the_balance_counts_verdicts_and_reasons() -> None:
    judged = table([None, Why.DULL, Why.LOST, None, Why.DULL])
    assert judged["verdict"].to_pylist() == ["kept", "dropped", "failed", "kept", "dropped"]
    assert judged["reason"].to_pylist() == [None, "dull", "lost", None, "dull"]
    assert balance_of(judged) == ItemBalance(kept=2, dropped={"dull": 2}, failed={"lost": 1})
    assert balance_of(table([])) == ItemBalance()


def test_a_reason_knows_its_verdict_and_whether_to_try_again() -> None:
    assert (Why.DULL.verdict, Why.DULL.retriable) == (Verdict.DROPPED, False)
    assert (Why.LOST.verdict, Why.LOST.retriable) == (Verdict.FAILED, True)
    assert Why.spelled("lost") is Why.LOST
    with pytest.raises(KeyError):
        Why.spelled("neither")


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    rows = table([None, Why.DULL])
    write_table(rows, tmp_path / "one")
    chunks = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    write_table(chunks.replace_schema_metadata({"made": "today"}), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_table((tmp_path / "one").read_bytes()) == rows


def test_columns_come_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    write_table(table([Why.DULL]), tmp_path / "one")
    data = (tmp_path / "one").read_bytes()
    assert read_table(data, ["reason", "number"]).column_names == ["reason", "number"]
    with pytest.raises(KeyError, match="colour"):
        read_table(data, ["colour"])


COUNT_THREADS = """
import os, sys
import pyarrow, pyarrow.parquet
from stages.formats.sample_table import read_table
data = open(sys.argv[1], "rb").read()
before = len(os.listdir("/proc/self/task"))
read_table(data, ["reason", "number"])
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux shows them")
def test_a_table_is_read_in_one_thread_so_that_none_is_left_at_exit(tmp_path: Path) -> None:
    write_table(table([Why.DULL] * 5000), tmp_path / "one")
    command = [sys.executable, "-c", COUNT_THREADS, str(tmp_path / "one")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


@pytest.mark.parametrize("column", [pa.array([1]), pa.array([["a"]]), pa.array([{"a": "b"}]), pa.array([True])])
def test_a_column_that_is_no_text_is_refused_by_name(column: pa.Array) -> None:
    with pytest.raises(StageError, match="column 'caption' of the URL table is .*; it must be text"):
        text_column(pa.table({"caption": column}), "caption", "URL table")


def test_text_is_read_as_bytes_because_it_may_not_be_text() -> None:
    broken = pa.array([b"caf\xe9", None, b"ok"], pa.binary()).view(pa.string())
    assert text_column(pa.table({"caption": broken}), "caption", "URL table") == [b"caf\xe9", None, b"ok"]
    assert text_column(pa.table({"caption": pa.nulls(2)}), "caption", "URL table") == [None, None]
