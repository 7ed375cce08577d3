"""Attention of new tokens to keys and values that a cache holds, their own included.

Owns one function, by torch's `scaled_dot_product_attention`, which runs on every device in every precision. The h / g
query heads that share a key-value head become rows of one matrix, so keys and values are never repeated.

B sequences, n new tokens of each, S slots of the cache, h query heads, g key-value heads, E and D query-key and value
widths.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_SCORES: Final = 2**26
"""Largest number of scores (queries x heads x slots) that exist at once: 268 MB in fp32."""


def attend_to_cache(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """q [B, n, h, E], keys [B, S, g, E], values [B, S, g, D] -> [B, n, h, D].

    `visible` bool, [B, n, S]: which slots each query sees. Queries are taken in blocks of at most `MAX_SCORES` scores.
    """
    num_rows, num_slots = keys.shape[:2]
    length = max(1, MAX_SCORES // (num_rows * q.shape[2] * num_slots))
    blocks = zip(q.split(length, dim=1), visible.split(length, dim=1), strict=True)
    attended = [_attend_block(queries, keys, values, seen) for queries, seen in blocks]
    return attended[0] if len(attended) == 1 else torch.cat(attended, dim=1)


def query_shares(q: Tensor, keys: Tensor, value_dim: int) -> Tensor:
    """q [h, E], keys [S, g, E] -> [h, S]: how one query that sees all slots divides its attention among them, in fp32.

    The kernels never make these shares; here they are for one query at a time. `value_dim` is D, of the scale.
    """
    queries = q.unflatten(0, (keys.shape[1], -1)).float()  # [g, h / g, E]
    scores = torch.einsum("gie,sge->gis", queries, keys.float()) * value_dim**-0.5
    shares: Tensor = scores.softmax(dim=-1).flatten(0, 1)
    return shares


def _attend_block(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    num_queries, num_shared = q.shape[1], q.shape[2] // keys.shape[2]
    queries = q.unflatten(2, (-1, num_shared)).transpose(1, 2).flatten(2, 3)  # [B, g, n * h / g, E]
    # One query needs one row of the mask for all its heads, which is broadcast.
    mask = visible if num_queries == 1 else visible.repeat_interleave(num_shared, dim=1)
    out = F.scaled_dot_product_attention(
        queries,
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask.unsqueeze(1),
        scale=values.shape[-1] ** -0.5,
    )
    attended: Tensor = out.unflatten(2, (num_queries, num_shared)).transpose(1, 2).flatten(2, 3)
    return attended
