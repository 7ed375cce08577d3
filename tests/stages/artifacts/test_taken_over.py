"""Records of parts that are taken over: what counts, what is superseded, which parts did not change."""

from __future__ import annotations

from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.artifacts.taken_over import (
    TAKEN_FROM,
    num_table_rows,
    superseded_reasons,
    taken_over,
    with_superseded,
)

FILE = FileEntry(name="a.tar", key="artifacts/download_pairs/0123456789ab/attempts/x/a.tar", size_bytes=3, sha256="00")
RECORD = PartRecord(
    phase="download",
    part="00001",
    files=(FILE,),
    items=ItemBalance(kept=5, dropped={"opt_out": 1}, failed={"not_found": 2, "timeout": 3, "dns_error": 4}),
    facts={"examples": {"timeout": {"row": 1}, "not_found": {"row": 2}}},
    made_by={"attempt": "run/1", "host": "a"},
)


def test_superseded_rows_are_no_items_of_the_part_any_more() -> None:
    once = with_superseded(RECORD, {"timeout", "server_error"})
    assert once.items == ItemBalance(kept=5, dropped={"opt_out": 1}, failed={"not_found": 2, "dns_error": 4})
    assert once.facts == {"examples": {"not_found": {"row": 2}}, "superseded": {"timeout": 3}}
    twice = with_superseded(once, {"dns_error", "timeout"})
    assert twice.facts["superseded"] == {"dns_error": 4, "timeout": 3}
    assert superseded_reasons(twice) == {"dns_error", "timeout"} and superseded_reasons(RECORD) == frozenset()
    assert [num_table_rows(one) for one in (RECORD, once, twice)] == [15, 15, 15]
    assert with_superseded(RECORD, {"server_error"}) is RECORD


def test_a_part_that_is_taken_over_says_from_where_and_has_the_same_content() -> None:
    taken = taken_over(RECORD, {"attempt": "other/2"})
    assert taken.made_by == {"attempt": "other/2", TAKEN_FROM: "download_pairs/0123456789ab"}
    assert (taken.content, taken.files) == (RECORD.content, RECORD.files)
