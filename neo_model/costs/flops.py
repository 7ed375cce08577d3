"""Floating-point operations (FLOPs) of a packed row, counted from its sizes.

A multiply-add counts 2: layers at every token, attention at every visible pair, the patch embedding at every patch,
the head at supervised positions only. Norms, rotations and softmax are linear in tokens and small, and are left out.
The backward pass costs twice the forward pass, less the weight gradients of frozen weights, and nothing below the
lowest layer that trains. What activation checkpointing computes twice is counted apart. Imports no torch.
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


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How much of a model trains, as far as a step's cost depends on it (`costs/trained.py` reads it off a model)."""

    layer_values: int
    """Values of the layers' matrices that train, adapters included; each takes a gradient from every token."""
    adapter_values: int
    """Values of LoRA adapters, which are computed beside the layers."""
    num_layers: int
    """Layers that the backward pass runs through: from the lowest that trains to the last; all where patches or words
    train."""
    vision: bool
    """Whether the patch embedding trains."""
    head: bool
    """Whether the output head trains."""


def everything(config: NeoConfig) -> Trained:
    """Where every parameter trains."""
    return Trained(
        layer_values=config.num_layers * _layer_values(config),
        adapter_values=0,
        num_layers=config.num_layers,
        vision=True,
        head=True,
    )


def forward_flops(config: NeoConfig, work: Work) -> float:
    """FLOPs of one forward pass over a row."""
    return config.num_layers * _layer_flops(config, work) + _patch_flops(config, work) + _head_flops(config, work)


def training_flops(config: NeoConfig, work: Work, trained: Trained) -> float:
    """FLOPs of forward and backward over a row.

    The backward pass takes the gradient of what each layer above the lowest trained one reads, and of the weights that
    train; that of attention, which has no weights, costs twice its forward pass.
    """
    adapters = 2.0 * work.num_tokens * trained.adapter_values
    forward = forward_flops(config, work) + adapters
    of_inputs = trained.num_layers * _layer_flops(config, work) + adapters + _head_flops(config, work)
    of_weights = (
        2.0 * work.num_tokens * trained.layer_values
        + trained.num_layers * _attention_flops(config, work)
        + trained.head * _head_flops(config, work)
    )
    return forward + of_inputs + of_weights + 2 * trained.vision * _patch_flops(config, work)


def recomputed_flops(config: NeoConfig, work: Work, trained: Trained) -> float:
    """FLOPs that activation checkpointing adds: the layers of the backward pass are computed a second time."""
    adapters = 2.0 * work.num_tokens * trained.adapter_values
    return trained.num_layers * _layer_flops(config, work) + adapters


def _layer_values(config: NeoConfig) -> int:
    """Values of the matrices of a layer."""
    projections = config.hidden * config.head_dim * (3 * config.num_heads + 3 * config.num_kv_heads)
    return projections + 3 * config.hidden * config.ffn


def _attention_flops(config: NeoConfig, work: Work) -> float:
    return 2.0 * work.num_pairs * config.num_heads * (config.query_key_dim + config.head_dim)


def _layer_flops(config: NeoConfig, work: Work) -> float:
    return 2.0 * work.num_tokens * _layer_values(config) + _attention_flops(config, work)


def _patch_flops(config: NeoConfig, work: Work) -> float:
    return 2.0 * work.num_patches * config.patch_hidden * (PATCH_VALUES + config.hidden)


def _head_flops(config: NeoConfig, work: Work) -> float:
    return 2.0 * work.num_supervised * config.hidden * config.vocab_size
