"""Which parts failed rows are fetched again in, from the counts of the records alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from stages.artifacts.kinds import SAMPLES_FILE
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.artifacts.taken_over import with_superseded
from stages.contract import Part
from stages.download.failed_rows import (
    MAX_PIECES,
    FailedRows,
    parts_to_retry,
    read_failed_rows,
    reasons_to_retry,
    spelled_reasons,
)
from stages.download.reasons import Reason
from stages.formats.sample_table import write_table
from stages.store.store import Store


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


@pytest.mark.parametrize("num_parts", [MAX_PIECES, 2 * MAX_PIECES + 1])
def test_a_part_takes_rows_of_so_many_parts_at_most(num_parts: int) -> None:
    parts = parts_to_retry([record(f"{number:05d}", 9, timeout=1) for number in range(num_parts)], {"timeout"}, 10_000)
    sizes = [len(FailedRows.of(part).pieces) for part in parts]
    assert sum(sizes) == num_parts and max(sizes) == MAX_PIECES and len(sizes) == -(-num_parts // MAX_PIECES)


def test_tables_of_earlier_releases_are_read_beside_those_of_now(tmp_path: Path) -> None:
    store, tables = Store(tmp_path / "store"), {}
    for number, further in enumerate(({}, {"robots_txt": ["allowed"] * 2, "usage_headers": [None, "noai"]})):
        columns = {
            "sample_id": [bytes([number, row]) * 8 for row in range(2)],
            "url": [f"https://host.example/{number}{row}" for row in range(2)],
            "caption": ["a", "b"],
            "reason": [None, "timeout"],
            "key": ["0000000000", None],
            "shop": ["one", "two"],
        }
        path = tmp_path / f"{number}.parquet"
        write_table(pa.table(columns | further), path)
        data = path.read_bytes()
        store.create(f"tables/{number}", data)
        digest = hashlib.sha256(data).hexdigest()
        tables[str(number)] = FileEntry(name=SAMPLES_FILE, key=f"tables/{number}", size_bytes=len(data), sha256=digest)
    (part,) = parts_to_retry([record("0", 1, timeout=1), record("1", 1, timeout=1)], {"timeout"}, 100)
    failed, wanted = read_failed_rows(part, tables, store)
    assert [table["reason"].to_pylist() for table in failed] == [["timeout"], ["timeout"]]
    assert [row.url for row in wanted.rows] == ["https://host.example/01", "https://host.example/11"]
    assert wanted.table.to_pydict() == {"shop": ["two", "two"]} and list(wanted.first_row) == [1, 3]


def table_in(store: Store, folder: Path, name: str, urls: list[str], references: list[str | None]) -> FileEntry:
    """A sample table of rows that all failed with a timeout."""
    columns = {
        "sample_id": [hashlib.md5(url.encode()).digest() for url in urls],
        "url": urls,
        "caption": [""] * len(urls),
        "reason": ["timeout"] * len(urls),
        "key": [None if name == "00000" else f"{number:010d}" for number in range(len(urls))],
    }
    if any(references):
        columns["reference"] = references
    write_table(pa.table(columns), folder / name)
    data = (folder / name).read_bytes()
    store.create(f"tables/{name}", data)
    return FileEntry(
        name=SAMPLES_FILE, key=f"tables/{name}", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


ODD_URLS = [
    "HTTPS://EXAMPLE.com/a.jpg",
    " http://b.example/b.jpg",
    "\ufeffhttps://c.example/c.jpg",
    "Http://d.example/",
]


def test_every_row_of_a_download_is_asked_for_again_however_its_url_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    tables = {"00000": table_in(store, tmp_path, "00000", ODD_URLS, [])}
    (part,) = parts_to_retry([record("00000", 0, timeout=4)], {"timeout"}, 100)
    _, wanted = read_failed_rows(part, tables, store)
    assert [row.refusal for row in wanted.rows] == [None] * 4
    hosts = [row.address.host for row in wanted.rows if row.address is not None]
    assert hosts == ["example.com", "b.example", "c.example", "d.example"]
    assert [row.url for row in wanted.rows] == ODD_URLS


@pytest.mark.parametrize("name", ["00000", "retry1_00000"])
def test_only_collected_pictures_of_files_keep_their_reasons(tmp_path: Path, name: str) -> None:
    """Those that were retried before, as well; rows of a download among them have no name."""
    store, urls = Store(tmp_path / "store"), ["photos:cut.jpg", "HTTPS://EXAMPLE.com/a.jpg", " https://b.example/"]
    tables = {name: table_in(store, tmp_path, name, urls, ["cut.jpg", "HTTPS://EXAMPLE.com/a.jpg", None])}
    made = FileEntry(name=SAMPLES_FILE, key=f"artifacts/collect_images/{'a' * 12}/s", size_bytes=1, sha256="0" * 64)
    collected = record("00000", 9).model_copy(update={"files": (made,)})
    failed = {"items": ItemBalance(kept=0, failed={"timeout": 3})}
    records = [collected.model_copy(update=failed)]
    if name != "00000":
        records = [collected, record(name, 0, timeout=3)]
    (part,) = parts_to_retry(records, {"timeout"}, 100)
    _, wanted = read_failed_rows(part, tables, store)
    assert [row.refusal for row in wanted.rows] == [Reason.TIMEOUT, None, None]
    assert [row.address is None for row in wanted.rows] == [True, False, False]


def test_nothing_is_planned_where_nothing_failed_so() -> None:
    assert parts_to_retry([record("00000", 8, not_found=2)], {"timeout"}, 100) == []


def test_transient_is_what_another_try_may_mend() -> None:
    assert set(spelled_reasons(["transient"])) == {one.value for one in Reason if one.retriable}
    assert spelled_reasons(["tls_error", "timeout", "timeout"]) == ("timeout", "tls_error")
    assert "schema" not in reasons_to_retry() and "opt_out" not in reasons_to_retry()
    with pytest.raises(ValueError, match="no reason was named"):
        spelled_reasons([])
