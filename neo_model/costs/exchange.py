"""Bytes that ranks which share a row send to one another: tokens for heads before attention, and back after it.

Every layer exchanges queries, keys and values, then outputs; the backward pass the gradients of both; activation
checkpointing the forward exchange once more. Of what a rank holds, (S - 1) / S goes to the S - 1 others. Imports no
torch.
"""

from __future__ import annotations

from neo_model.config import NeoConfig
from neo_model.costs.flops import Trained


def exchanged_bytes(
    config: NeoConfig, num_tokens: int, num_shares: int, trained: Trained, *, value_bytes: int, recomputes: bool
) -> float:
    """Bytes that each of `num_shares` ranks sends for a row of `num_tokens`, forward and backward.

    A 9B's row of 32,768 tokens in four shares: 8,192 tokens a rank, of which each layer sends three quarters of
    32 x 256 + 8 x (256 + 128) + 32 x 128 values, forward and again backward: 15,360 x 2 bytes x 0.75 x 8,192 = 189 MB,
    and 15.9 GB in 42 layers.
    """
    num_kv_heads = max(config.num_kv_heads, num_shares)  # a head goes to every rank that needs it
    width = config.query_key_dim + config.head_dim
    of_token = (config.num_heads + num_kv_heads) * width
    num_passes = config.num_layers + (2 if recomputes else 1) * trained.num_layers
    return of_token * value_bytes * num_passes * num_tokens / num_shares * (num_shares - 1) / num_shares
