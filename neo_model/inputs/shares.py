"""A packed row split over ranks: contiguous shares of its tokens, for sequence parallelism.

Owns the bounds of the shares and the part of a batch that belongs to one. What lies at tokens is cut: ids, positions,
targets, weights and pictures, between any two tokens, also inside a document or a picture. What says who sees whom,
documents and image spans, stays that of the whole row, because attention is computed over whole rows.

L tokens of the row, S shares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from neo_model.inputs.batch import Batch

PATCHES_OF_A_TOKEN: Final = 4
"""Patches of 16 x 16 pixels that become one visual token; they are neighbours in a batch."""


def share_bounds(num_tokens: int, num_shares: int) -> list[int]:
    """[S+1] first token of each share, and L: lengths differ by one at most.

    Ten tokens in four shares: 0 2 5 7 10. Fewer tokens than shares leave some of them empty.
    """
    return [num_tokens * number // num_shares for number in range(num_shares + 1)]


def take_share(batch: Batch, number: int, num_shares: int) -> Batch:
    """Share `number` of `num_shares` of a whole row. Its tensors are copies, so that the row can be freed."""
    bounds = share_bounds(batch.num_tokens, num_shares)
    first, until = bounds[number : number + 2]
    context = _between(batch.context_index, first, until)
    patches = slice(PATCHES_OF_A_TOKEN * context.start, PATCHES_OF_A_TOKEN * context.stop)
    supervised = _between(batch.supervised_index, first, until)
    return replace(
        batch,
        first_token=first,
        input_ids=batch.input_ids[first:until].clone(),
        positions=batch.positions[first:until].clone(),
        targets=batch.targets[first:until].clone(),
        weights=batch.weights[first:until].clone(),
        supervised_index=batch.supervised_index[supervised] - first,
        context_index=batch.context_index[context] - first,
        patches=batch.patches[patches].clone(),
        patch_positions=batch.patch_positions[patches].clone(),
    )


def _between(index: Tensor, first: int, until: int) -> slice:
    """Which entries of an ascending index lie in [first, until)."""
    start, stop = torch.searchsorted(index, index.new_tensor([first, until])).tolist()
    return slice(start, stop)
