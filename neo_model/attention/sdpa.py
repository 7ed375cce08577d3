"""The sdpa backend: torch's `scaled_dot_product_attention` on padded groups of documents, with dense masks.

Runs on every device in every precision; tests compare the other backends with it. A mask has the size of a document
squared, not of a row squared, and is built once for all layers.

B documents of a group, L tokens of the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.interface import Attend
from neo_model.attention.segments import Group, Segments
from neo_model.attention.visibility import visible_intervals
from neo_model.inputs.batch import Batch


@dataclass(frozen=True)
class _MaskedGroup:
    group: Group
    mask: Tensor
    """[B, 1, length, length] bool, true where a query sees a key."""

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
    """Group this row's documents and build their masks."""
    segments = Segments(np.diff(batch.documents.numpy()), device)
    ends = visible_intervals(batch.documents.numpy(), batch.whole_spans.numpy())
    first, stop = (torch.from_numpy(part).to(device) for part in ends)
    masked = [_MaskedGroup(group, _mask(first, stop, group)) for group in segments.groups]
    back = torch.argsort(torch.cat([entry.group.tokens for entry in masked]))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.cat([entry.attend(q, k, v) for entry in masked])[back]

    return attend


def _mask(first: Tensor, stop: Tensor, group: Group) -> Tensor:
    """[B, 1, length, length]; padding keys lie past the end of their document, where no query sees them."""
    queries = group.rows.view(group.size)
    keys = queries[:, :1] + torch.arange(group.size[1], device=queries.device)
    visible = (first[queries][:, :, None] <= keys[:, None]) & (keys[:, None] < stop[queries][:, :, None])
    return visible.unsqueeze(1)
