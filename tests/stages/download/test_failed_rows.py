"""Which parts failed rows are fetched again in, from the counts of the records alone."""

from __future__ import annotations

import pytest

from stages.artifacts.records import ItemBalance, PartRecord
from stages.artifacts.taken_over import with_superseded
from stages.contract import Part
from stages.download.failed_rows import FailedRows, parts_to_retry, reasons_to_retry, spelled_reasons
from stages.download.reasons import Reason


def record(part: str, kept: int, **failed: int) -> PartRecord:
    return PartRecord(phase="download", part=part, items=ItemBalance(kept=kept, failed=failed))


def pieces(part: Part) -> list[tuple[str, int, list[str]]]:
    return [(piece.part, piece.first_row, piece.reasons) for piece in FailedRows.of(part).pieces]


def test_failed_rows_of_parts_that_follow_each_other_share_a_part() -> None:
    records = [
        record("00000", 8, timeout=2),
        record("00001", 10),
        record("00002", 5, timeout=3, not_found=2),
        record("00003", 4, server_error=1, timeout=5),
    ]
    parts = parts_to_retry(records, {"timeout", "server_error"}, 6)
    assert [(part.name, part.num_items) for part in parts] == [("retry1_00000", 5), ("retry1_00001", 6)]
    assert pieces(parts[0]) == [("00000", 0, ["timeout"]), ("00002", 20, ["timeout"])]
    assert pieces(parts[1]) == [("00003", 30, ["server_error", "timeout"])]


def test_a_second_retry_counts_on_and_takes_no_superseded_row() -> None:
    first = [with_superseded(record("00000", 8, timeout=2, tls_error=1), {"timeout"}), record("00001", 9, timeout=1)]
    again = [*first, record("retry1_00000", 1, timeout=1)]
    (part,) = parts_to_retry(again, {"timeout", "tls_error"}, 100)
    assert part.name == "retry2_00000"
    assert pieces(part) == [("00000", 0, ["tls_error"]), ("00001", 11, ["timeout"]), ("retry1_00000", 21, ["timeout"])]


def test_nothing_is_planned_where_nothing_failed_so() -> None:
    assert parts_to_retry([record("00000", 8, not_found=2)], {"timeout"}, 100) == []


def test_transient_is_what_another_try_may_mend() -> None:
    assert set(spelled_reasons(["transient"])) == {one.value for one in Reason if one.retriable}
    assert spelled_reasons(["tls_error", "timeout", "timeout"]) == ("timeout", "tls_error")
    assert "schema" not in reasons_to_retry() and "opt_out" not in reasons_to_retry()
    with pytest.raises(ValueError, match="no reason was named"):
        spelled_reasons([])
