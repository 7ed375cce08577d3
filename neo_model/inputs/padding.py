"""Rows of a few lengths: padding that changes no result.

Owns the padding of a packed row, for compiled layers, whose code is made for one length. The padding is one more
document at the end, of text that nobody supervises.

L tokens before, L' after.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from neo_model.inputs.batch import IGNORED, Batch


def pad(batch: Batch, bucket_tokens: int) -> Batch:
    """Lengthen a row to the next multiple of `bucket_tokens`; logits, loss and gradients of the row stay the same."""
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
