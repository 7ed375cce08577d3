"""Attention by torch's `scaled_dot_product_attention`, on documents padded into groups, with dense masks.

The plain backend: every device, every precision, and what the others are compared with. A mask has the size of a
document squared, never of a row squared; masks are made once for all layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention import Attend
from neo_model.batch import Batch
from neo_model.segments import Group, Segments


@dataclass(frozen=True)
class _MaskedGroup:
    group: Group
    mask: Tensor
    """[B, 1, length, length] bool."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Outputs [t, h, D] of the group's tokens."""
        queries, keys, values = (
            x[self.group.rows].view(*self.group.size, *x.shape[1:]).transpose(1, 2) for x in (q, k, v)
        )
        out = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=self.mask, scale=v.shape[-1] ** -0.5, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(0, 1)[self.group.cells]


def prepare_sdpa(batch: Batch, device: torch.device) -> Attend:
    """Masks and groups of this row's documents."""
    segments = Segments(np.diff(batch.documents.numpy()), device)
    images = _image_numbers(batch).to(device)
    masked = [_MaskedGroup(group, _mask(images, group)) for group in segments.groups]
    back = torch.argsort(torch.cat([entry.group.tokens for entry in masked]))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.cat([entry.attend(q, k, v) for entry in masked])[back]

    return attend


def _image_numbers(batch: Batch) -> Tensor:
    """[L] int64, 1 and up on the context tokens of each image, 0 on text."""
    numbers = torch.zeros(batch.num_tokens, dtype=torch.int64)
    for number, (start, end) in enumerate(batch.image_spans.tolist(), start=1):
        numbers[start:end] = number
    return numbers


def _mask(images: Tensor, group: Group) -> Tensor:
    """[B, 1, length, length]: key not after query, or both in one image; padding only ever sees itself and text."""
    num_segments, length = group.size
    causal = torch.ones(length, length, dtype=torch.bool, device=images.device).tril()
    unit = images[group.rows].view(num_segments, 1, length)
    real = torch.zeros(num_segments * length, dtype=torch.bool, device=images.device)
    real[group.cells] = True
    unit = unit * real.view(num_segments, 1, length)
    same_image = (unit.transpose(1, 2) == unit) & (unit > 0)
    return (causal | same_image).unsqueeze(1)
