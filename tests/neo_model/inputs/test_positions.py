"""The index rules, on the worked example and on random rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neo_model.inputs.positions import (
    ImageMismatchError,
    check_images,
    image_spans,
    merge_order,
    patch_positions,
    thw_positions,
)
from tests.neo_model.tiny import CONTEXT, row


def test_the_worked_example() -> None:
    """Two words, an image of 2 x 2, three words, an image of 2 x 3, a word."""
    positions = row([2, (4, 4), 3, (4, 6), 1]).positions
    assert positions[:, 0].tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 10, 11]
    assert positions[3:7, 1:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert positions[12:18, 1:].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    text = [index for index in range(20) if index not in {*range(3, 7), *range(12, 18)}]
    assert positions[text, 1:].abs().sum() == 0


def test_every_document_starts_at_zero_and_every_image_at_its_corner() -> None:
    batch = row([3, (2, 4)], [(4, 2), 1], [2])
    starts = batch.documents[:-1]
    assert batch.positions[starts, 0].tolist() == [0, 0, 0]
    assert batch.positions[batch.image_spans[:, 0], 1:].tolist() == [[0, 0], [0, 0]]


@given(
    st.lists(
        st.lists(st.one_of(st.integers(1, 4), st.sampled_from([(2, 2), (4, 6), (6, 2)])), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_like_counting_by_hand(pack: list[list[int | tuple[int, int]]]) -> None:
    batch = row(*pack)
    expected: list[tuple[int, int, int]] = []
    for pieces in pack:
        t = 0
        for piece in pieces:
            if isinstance(piece, int):
                expected += [(t + step, 0, 0) for step in range(piece)]
                t += piece
            else:
                cells = [(t + 1, h, w) for h in range(piece[0] // 2) for w in range(piece[1] // 2)]
                expected += [(t, 0, 0), *cells, (t + 2, 0, 0)]
                t += 3
    assert batch.positions.tolist() == [list(position) for position in expected]


def test_spans_are_the_runs_of_context_tokens() -> None:
    ids = np.array([CONTEXT, CONTEXT, 1, 2, CONTEXT, 3, CONTEXT])
    assert image_spans(ids, CONTEXT).tolist() == [[0, 2], [4, 5], [6, 7]]
    assert image_spans(np.array([1, 2]), CONTEXT).shape == (0, 2)


def test_counts_that_disagree_are_both_named() -> None:
    with pytest.raises(ImageMismatchError, match="2 runs of image tokens for 1 images"):
        check_images(np.array([[0, 1], [2, 3]]), [(2, 2)])
    with pytest.raises(ImageMismatchError, match="image 0 has a grid of 2 x 4 patches and 3 tokens"):
        check_images(np.array([[0, 3]]), [(2, 4)])


def test_merge_order_gathers_squares_of_four() -> None:
    order = merge_order(4, 6)
    assert sorted(order.tolist()) == list(range(24))
    for token, (row_, column) in enumerate((row_, column) for row_ in range(2) for column in range(3)):
        corner = 2 * row_ * 6 + 2 * column
        assert order[4 * token : 4 * token + 4].tolist() == [corner, corner + 1, corner + 6, corner + 7]
    assert patch_positions(4, 6)[:4].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_positions_of_an_empty_set_of_images() -> None:
    none = np.zeros((0, 2), np.int64)
    assert thw_positions(3, np.array([0, 3]), none, none)[:, 0].tolist() == [0, 1, 2]
