"""A step that loses nearly everything says so: reasons, counts, an example, and what to do."""

import pyarrow as pa
import pytest

from stages.contract import ItemBalance, PartRecord, StageError
from stages.formats.losses import check_losses, examples_of


def record(kept: int, dropped: dict[str, int], part: str = "00000", **facts: object) -> PartRecord:
    return PartRecord(phase="download", part=part, items=ItemBalance(kept=kept, dropped=dropped), facts=facts)


def test_one_reason_may_cost_its_share_and_no_more() -> None:
    check_losses([record(20, {"not_found": 80})], 0.8)
    check_losses([record(1, {"not_found": 50, "timeout": 49})], 0.8)
    check_losses([record(0, {})], 0.8)
    with pytest.raises(
        StageError, match=r"of 100 rows, 19 were kept, and one reason may cost 80% of them: 81 not_found"
    ):
        check_losses([record(9, {"not_found": 41}), record(10, {"not_found": 40}, "00001")], 0.8)


def test_a_step_that_keeps_nothing_fails_whatever_the_share() -> None:
    lost = [record(0, {"not_found": 50, "timeout": 50})]
    with pytest.raises(StageError, match="of 100 pairs, none were kept"):
        check_losses(lost, 0.9, items="pairs")
    check_losses(lost, 1.0)


def test_the_first_example_of_a_reason_is_shown() -> None:
    table = pa.table(
        {
            "url": pa.array([b"http://a\r", b"\xff", None], pa.binary()).view(pa.string()),
            "number": [1, 2, 3],
            "reason": ["url_malformed", "encoding", "encoding"],
        }
    )
    facts = examples_of(table, ["url", "number", "missing"], first_row=40)
    assert facts == {
        "examples": {
            "url_malformed": {"row": 40, "url": "http://a\r", "number": "1"},
            "encoding": {"row": 41, "url": "\\xff", "number": "2"},
        }
    }
    with pytest.raises(
        StageError, match=r"3 url_malformed \(such as row 40, url 'http://a\\r', number '1'\); 1 encoding"
    ):
        check_losses([record(0, {"url_malformed": 3, "encoding": 1}, **facts)], 0.8)


def test_reasons_that_are_no_loss_are_left_out_of_the_count() -> None:
    repeated = [record(10, {"repeated_row": 990, "not_found": 9})]
    check_losses(repeated, 0.8, no_loss={"repeated_row"})
    check_losses([record(0, {"repeated_row": 5})], 0.8, no_loss={"repeated_row"})
    with pytest.raises(StageError, match="of 50 rows, 1 were kept, and one reason may cost 80% of them: 49 not_found"):
        check_losses([record(1, {"repeated_row": 900, "not_found": 49})], 0.8, no_loss={"repeated_row"})
