"""Padding of packed rows to a few lengths, without a change of logits, loss or gradients.

Owns the padding that compiled layers need, because their code is compiled for one length. It is one more document at
the end of the row, of unsupervised text.

L tokens before, L' after.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from neo_model.inputs.batch import IGNORED, Batch


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
