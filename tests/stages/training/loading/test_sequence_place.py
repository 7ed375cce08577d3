"""Which rows and which share of them a rank has, and how ranks notice that they do not have the same."""

import itertools

import pytest

from stages.contract import GangLayout
from stages.training.loading.sequence_place import SequencePlace
from stages.training.loading.split import RowSplit
from tests.neo_model.inputs.test_shares import row


def places(num_ranks: int, sequence_ranks: int, *, on_grid: bool = False) -> list[SequencePlace]:
    layout = GangLayout(num_ranks=num_ranks, sequence_ranks=sequence_ranks)
    return [SequencePlace.of(layout, rank, num_ranks, on_grid=on_grid) for rank in range(num_ranks)]


def test_ranks_that_follow_one_another_share_rows() -> None:
    found = places(8, 4)
    assert [(one.group, one.share) for one in found] == [*itertools.product(range(2), range(4))]
    assert {one.num_groups for one in found} == {2}
    assert [one.is_first for one in found] == [True, False, False, False] * 2


def test_a_group_of_ranks_gets_the_rows_that_a_rank_would() -> None:
    """Under any ZeRO stage, also where passes stay empty."""
    costs = [float(1 + 7 * number % 11) for number in range(10)]
    for zero_stage, micro_rows in itertools.product(range(4), (1, 2, 3)):
        alone = GangLayout(num_ranks=2, micro_rows=micro_rows, zero_stage=zero_stage)
        shared = GangLayout(num_ranks=6, micro_rows=micro_rows, zero_stage=zero_stage, sequence_ranks=3)
        for rank in range(6):
            mine = RowSplit.of(len(costs), shared, rank, 6)
            theirs = RowSplit.of(len(costs), alone, rank // 3, 2)
            assert mine.of_step(costs) == theirs.of_step(costs)
            assert mine.num_micro_batches == theirs.num_micro_batches
            assert mine.imbalance(costs) == theirs.imbalance(costs)


def test_empty_places_are_told_by_groups() -> None:
    layout = GangLayout(num_ranks=12, sequence_ranks=4)
    words = RowSplit.of(8, layout, 0, 12).idle_words
    assert "11% of the places empty that 3 groups of 4 ranks x 1 rows x 3 passes have" in words
    assert "set a num_ranks that divides the rows" in words
    assert RowSplit.of(2, layout, 0, 12).idle_words.endswith("8 ranks would take as many passes")


@pytest.mark.parametrize("on_grid", [False, True])
@pytest.mark.parametrize("num_documents", [1, 12])
def test_the_tokens_of_all_shares_are_those_of_the_row(num_documents: int, on_grid: bool) -> None:
    """What pads a row counts nowhere. Code that is compiled meets one length in all shares."""
    whole = row(num_documents)
    shares = [place.take(whole) for place in places(6, 6, on_grid=on_grid)]
    assert sum(share.num_tokens - num_padding for share, num_padding in shares) == whole.num_tokens
    lengths = {share.num_tokens for share, _ in shares}
    if on_grid:
        assert lengths == {-(-whole.num_tokens // 384) * 64}, "384 is what both 128 and 6 divide"
    else:
        assert not any(num_padding for _, num_padding in shares)


def test_a_row_of_fewer_tokens_than_ranks_leaves_none_without_a_token() -> None:
    """As a micro-batch of no rows is."""
    from neo_model.inputs.batch import pack
    from stages.training.objectives.forms import NOTHING

    nothing = pack([NOTHING], [], image_context_id=50)
    taken = [place.take(nothing) for place in places(4, 4)]
    assert [(share.num_tokens, num_padding) for share, num_padding in taken] == [(1, 0), (1, 0), (1, 1), (1, 1)]


def test_ranks_that_share_rows_and_have_others_are_noticed_by_one_sum() -> None:
    rows = {0: [(1, 2), (7,)], 1: [(5,), ()]}
    found = places(8, 4)
    assert sum(place.difference(rows[place.group]) for place in found) == 0
    for odd in range(8):
        loaded = [rows[place.group] if rank != odd else [(1,), (7,)] for rank, place in enumerate(found)]
        assert sum(place.difference(one) for place, one in zip(found, loaded, strict=True)) != 0
    assert all(place.difference([(rank,)]) == 0 for rank, place in enumerate(places(3, 1)))
    most = 2.0**32 * 1024 * 8
    assert most + 1 - most == 1, "sums in float64 are exact for thousands of ranks"
