"""Padding of packed rows to a few lengths, without a change of logits, loss or gradients.

Owns the padding that compiled code needs, because it is compiled for one length. It is one more document at the end of
the row, of unsupervised text; and the grid of lengths: up to 1,024 tokens multiples of 128, above that eight lengths
between each power of two and the next.

L tokens before, L' after.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch.nn import functional as F

from neo_model.inputs.batch import IGNORED, Batch

SMALLEST_STEP: Final = 128
"""Tokens between two lengths of the grid at its beginning: a block of FlexAttention's mask."""
STEPS_AN_OCTAVE: Final = 8
"""Lengths between a power of two and the next: a row grows by an eighth at most."""


def grid_step(num_tokens: int) -> int:
    """Distance of the lengths of the grid around a row of this many tokens: its padded length is a multiple of it.

    16,300 tokens lie between 8,192 and 16,384, in eight steps of 1,024, and become 16,384.
    """
    octave: int = 1 << (num_tokens - 1).bit_length() - 1 if num_tokens > 1 else 1
    return max(SMALLEST_STEP, octave // STEPS_AN_OCTAVE)


def pad_to_grid(batch: Batch) -> Batch:
    """Pad a row to the next length of the grid; its logits, loss and gradients stay the same."""
    return pad(batch, grid_step(batch.num_tokens))


def pad(batch: Batch, bucket_tokens: int) -> Batch:
    """Pad a row to the next multiple of `bucket_tokens`; its logits, loss and gradients stay the same."""
    num_padding = -batch.num_tokens % bucket_tokens
    if num_padding == 0:
        return batch
    end = batch.num_tokens + num_padding
    positions = F.pad(batch.positions, (0, 0, 0, num_padding))
    positions[batch.num_tokens :, 0] = torch.arange(num_padding, device=positions.device)
    return replace(
        batch,
        input_ids=F.pad(batch.input_ids, (0, num_padding)),
        positions=positions,
        targets=F.pad(batch.targets, (0, num_padding), value=IGNORED),
        weights=F.pad(batch.weights, (0, num_padding)),
        documents=torch.cat((batch.documents, torch.tensor([end]))),
    )
