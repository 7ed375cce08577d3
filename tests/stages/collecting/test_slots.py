"""Names are spread over slots, and the slots over parts of equal size."""

import pytest

from stages.collecting.slots import NUM_SLOTS, ROWS_PER_RANGE, slot_of, slot_ranges


def test_names_are_spread_over_all_slots() -> None:
    slots = [slot_of(f"coco/train2017/{number:012d}.jpg") for number in range(10_000)]
    assert set(slots) == set(range(NUM_SLOTS)) and max(map(slots.count, range(NUM_SLOTS))) < 300


@pytest.mark.parametrize(
    ("num_rows", "num_ranges"), [(0, 1), (ROWS_PER_RANGE, 1), (ROWS_PER_RANGE + 1, 2), (10**9, NUM_SLOTS)]
)
def test_there_are_as_many_ranges_as_names_need(num_rows: int, num_ranges: int) -> None:
    ranges = slot_ranges(num_rows)
    assert len(ranges) == num_ranges and [slot for one in ranges for slot in one] == list(range(NUM_SLOTS))
