"""Positions of tokens and patches: (T, H, W) of a packed row, and (column, row) on a picture's grid.

Owns the index rules of Native-RoPE. A text token takes the next T and has H = W = 0; all tokens of one image share
one T and carry their row and column, from (0, 0) in every image; every document starts again at T = 0.

L tokens, D documents, M images, N patches; an image of grid (gh, gw) patches has gh/2 x gw/2 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class ImageMismatchError(ValueError):
    """Images and their context tokens do not agree; the message gives both counts."""


def image_spans(token_ids: IntArray, image_context_id: int) -> IntArray:
    """[M, 2] start and end of every run of `<IMG_CONTEXT>` in token ids [L]; `</img><img>` separates two images."""
    is_context = np.concatenate(([False], token_ids == image_context_id, [False]))
    return np.flatnonzero(is_context[1:] != is_context[:-1]).reshape(-1, 2)


def check_images(spans: IntArray, grids: Sequence[tuple[int, int]]) -> None:
    """Raise ImageMismatchError unless each grid has one span, of gh/2 x gw/2 tokens."""
    if len(spans) != len(grids):
        raise ImageMismatchError(f"{len(spans)} runs of image tokens for {len(grids)} images")
    for number, ((start, end), (grid_h, grid_w)) in enumerate(zip(spans, grids, strict=True)):
        if grid_h % 2 or grid_w % 2 or grid_h * grid_w != 4 * (end - start):
            raise ImageMismatchError(
                f"image {number} has a grid of {grid_h} x {grid_w} patches and {end - start} tokens, not a quarter"
            )


def thw_positions(num_tokens: int, documents: IntArray, spans: IntArray, grids: IntArray) -> IntArray:
    """[L, 3] (T, H, W) of a row.

    `documents` [D+1] cumulative starts, `spans` [M, 2] of context tokens, `grids` [M, 2] in patches. Two words, an
    image of 2 x 2 tokens, a word: T = 0 1 2 3 3 3 3 4 5 with `<img>` at 2 and `</img>` at 4.
    """
    steps = np.ones(num_tokens, np.int64)
    positions = np.zeros((num_tokens, 3), np.int64)
    for (start, end), (_, grid_w) in zip(spans, grids, strict=True):
        steps[start + 1 : end] = 0
        positions[start:end, 1], positions[start:end, 2] = np.divmod(np.arange(end - start), grid_w // 2)
    # `steps` is 1 where T advances. The running sum goes on across documents; each subtracts its own first value.
    running = np.cumsum(steps)
    starts = documents[:-1]
    positions[:, 0] = running - np.repeat(running[starts], np.diff(documents))
    return positions


def merge_order(grid_h: int, grid_w: int) -> IntArray:
    """[N] row-major patch numbers, reordered: the four patches of each token are neighbours.

    >>> merge_order(2, 4).tolist()
    [0, 1, 4, 5, 2, 3, 6, 7]
    """
    numbers = np.arange(grid_h * grid_w).reshape(grid_h // 2, 2, grid_w // 2, 2)
    return numbers.transpose(0, 2, 1, 3).reshape(-1)


def patch_positions(grid_h: int, grid_w: int) -> IntArray:
    """[N, 2] (column, row) of each patch, in merge order."""
    rows, columns = np.divmod(merge_order(grid_h, grid_w), grid_w)
    return np.stack((columns, rows), axis=1)
