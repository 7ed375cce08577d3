"""Balances add up by reason, and the content of a part leaves out what two undisturbed runs may differ in."""

from typing import Any

import pytest

from stages.artifacts.records import STEPS_PHASE, FileEntry, ItemBalance, PartRecord, total

FILE = FileEntry(name="rows.tar", key="artifacts/pack_rows/abc/attempts/a-1/rows.tar", size_bytes=5, sha256="f" * 64)
RECORD = PartRecord(phase="write", part="00000", files=(FILE,), facts={"num_rows": 3}, made_by={"attempt": "a-1"})


def test_balances_add_up_by_reason() -> None:
    first = ItemBalance(kept=3, dropped={"too_small": 2}, failed={"timeout": 1})
    second = ItemBalance(kept=4, dropped={"too_large": 5, "too_small": 1})
    both = ItemBalance(kept=7, dropped={"too_large": 5, "too_small": 3}, failed={"timeout": 1})
    assert first + second == total([first, second]) == both
    assert (both.num_dropped, both.num_failed, both.total) == (8, 1, 16)


def test_the_total_of_no_balances_is_empty() -> None:
    assert total([]) == ItemBalance()
    assert total([]).total == 0


@pytest.mark.parametrize(
    "change",
    [
        {"made_by": {"attempt": "a-2", "host": "node-7"}},
        {"files": (FILE.model_copy(update={"key": "artifacts/pack_rows/abc/attempts/a-2/rows.tar"}),)},
        {"items": ItemBalance(kept=1)},
    ],
)
def test_the_content_of_a_part_leaves_out_attempts_keys_and_balances(change: dict[str, Any]) -> None:
    assert RECORD.model_copy(update=change).content == RECORD.content


@pytest.mark.parametrize(
    "change",
    [
        {"part": "00001"},
        {"phase": "plan"},
        {"facts": {"num_rows": 4}},
        {"files": (FILE.model_copy(update={"sha256": "e" * 64}),)},
        {"files": (FILE.model_copy(update={"size_bytes": 6}),)},
    ],
)
def test_the_content_of_a_part_covers_names_bytes_and_facts(change: dict[str, Any]) -> None:
    assert RECORD.model_copy(update=change).content != RECORD.content


def test_the_number_of_a_checkpoint_is_no_content() -> None:
    """A training that was interrupted has other numbers, and the same checkpoints."""
    checkpoint = RECORD.model_copy(update={"phase": STEPS_PHASE})
    assert checkpoint.model_copy(update={"part": "00007"}).content == checkpoint.content


def test_a_file_that_a_part_lacks_is_named_with_those_that_it_has() -> None:
    assert RECORD.file("rows.tar") is FILE
    with pytest.raises(KeyError, match=r"write/00000 has no file 'rows\.bin'; it has \['rows\.tar'\]"):
        RECORD.file("rows.bin")
