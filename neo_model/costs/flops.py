"""Floating-point operations (FLOPs) of a packed row, counted from its sizes.

A multiply-add counts 2: layers at every token, attention at every visible pair, the patch embedding at every patch,
the head at supervised positions only. Norms, rotations and softmax are linear in tokens and small, and are left out.
The backward pass costs twice the forward pass, less the weight gradients of frozen weights. What activation
checkpointing computes twice is counted once. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neo_model.config import PATCH_VALUES, NeoConfig


@dataclass(frozen=True, kw_only=True)
class Work:
    """Sizes of a row that decide its cost."""

    num_tokens: int
    num_pairs: int
    """Pairs of a query and a key visible to it."""
    num_patches: int
    num_supervised: int = 0


def visible_pairs(document_tokens: Sequence[int], image_tokens: Sequence[int]) -> int:
    """Visible pairs of documents and images of these lengths: the past of each token, and all of its own image.

    >>> visible_pairs([5], [3])
    18
    """
    past = sum(length * (length + 1) // 2 for length in document_tokens)
    return past + sum(length * (length - 1) // 2 for length in image_tokens)


def forward_flops(config: NeoConfig, work: Work) -> float:
    """FLOPs of one forward pass over a row."""
    heads, groups, width = config.num_heads, config.num_kv_heads, config.head_dim
    projections = config.hidden * width * (3 * heads + 3 * groups)
    layer = work.num_tokens * (projections + 3 * config.hidden * config.ffn)
    attention = work.num_pairs * heads * (config.query_key_dim + width)
    patches = work.num_patches * config.patch_hidden * (PATCH_VALUES + config.hidden)
    head = work.num_supervised * config.hidden * config.vocab_size
    return 2.0 * (config.num_layers * (layer + attention) + patches + head)


def training_flops(config: NeoConfig, work: Work, *, llm_frozen: bool) -> float:
    """FLOPs of forward and backward over a row; `llm_frozen` as in pre-Buffer pre-training."""
    flops = 3.0 * forward_flops(config, work)
    if llm_frozen:
        heads, groups, width = config.num_heads, config.num_kv_heads, config.head_dim
        inherited = config.hidden * (width * (2 * heads + 2 * groups) + 3 * config.ffn)
        head = work.num_supervised * config.hidden * config.vocab_size
        flops -= 2.0 * (config.num_post_llm_layers * work.num_tokens * inherited + head)
    return flops
