"""Rows of a step over ranks: even, or refused with the numbers."""

import pytest

from stages.contract import GangLayout, StageError
from stages.training.split import Split


def test_an_uneven_layout_is_refused_by_name() -> None:
    layout = GangLayout(num_ranks=4, micro_rows=2)
    with pytest.raises(StageError, match="rows_per_step = 12 .* 4 ranks x 2 rows in a forward pass = 8"):
        Split.of(12, layout, rank=0, world_size=4)


def test_accumulation_makes_up_for_what_a_forward_pass_does_not_hold() -> None:
    split = Split.of(16, GangLayout(num_ranks=2, micro_rows=2), rank=1, world_size=2)
    assert split.num_micro_batches == 4
    assert split.of_step(range(16)) == [[8, 9], [10, 11], [12, 13], [14, 15]]
