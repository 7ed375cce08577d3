"""A rank orders pairs by source, size of the picture and place, and says which row it is of."""

import numpy as np

from stages.duplicates.ranks import MAX_PIXELS_PX, MAX_ROWS, are_judged, ranks_of, rows_of


def test_an_earlier_pair_then_the_larger_picture_then_the_first_wins() -> None:
    judged = ranks_of(np.array([100, 400, 400, 0]), 5, is_earlier=False)
    earlier = ranks_of(np.array([1]), 9, is_earlier=True)
    together = np.concatenate([judged, earlier])
    assert np.argsort(together).tolist() == [4, 1, 2, 0, 3]
    assert rows_of(together).tolist() == [5, 6, 7, 8, 9]
    assert are_judged(together).tolist() == [True] * 4 + [False]


def test_the_last_row_and_absurd_sizes_fit() -> None:
    sizes = np.array([MAX_PIXELS_PX, 2**40])
    ranks = ranks_of(sizes, MAX_ROWS - 2, is_earlier=False)
    assert rows_of(ranks).tolist() == [MAX_ROWS - 2, MAX_ROWS - 1]
    assert ranks[0] < ranks[1] and ranks[0] >= 1 << 63
