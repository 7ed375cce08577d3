"""Which parameter belongs to which part of a NEO model: by module, never by a piece of its name.

Owns the key lists that training, merging and exporting share. They are read from a model on the meta device, which
allocates nothing and cannot differ from the network. Mappings have the order of the model's `state_dict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import nn

from neo_model.config import NeoConfig
from neo_model.model import NeoModel
from neo_model.parts import PREBUFFER_PARTS, ModelPart


@lru_cache(maxsize=8)
def parameter_shapes(config: NeoConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, in the order of the model."""
    return {name: tuple(parameter.shape) for name, parameter in _on_meta(config).named_parameters()}


@lru_cache(maxsize=8)
def prebuffer_keys(config: NeoConfig) -> frozenset[str]:
    """Patch embedding, the pre-Buffer's layers, and the height/width queries, keys and norms of the post-LLM.

    The tensors that pre-Buffer pre-training trains and a PreBuffer artifact holds.
    """
    return frozenset(name for name, part in part_of_parameters(_on_meta(config)).items() if part in PREBUFFER_PARTS)


def part_of_parameters(model: NeoModel) -> dict[str, ModelPart]:
    """Name of every parameter to its part of the model, in the order of the model. An adapter is of its map's part."""
    depth, stack = model.config.num_prebuffer_layers, model.language_model.model
    modules: list[tuple[ModelPart, nn.Module]] = [
        ("vision", model.vision_model),
        ("embedding", stack.embed_tokens),
        ("post_llm", stack.norm),
        *(("prebuffer", layer) for layer in model.layers[:depth]),
        *(("post_llm", layer) for layer in model.layers[depth:]),
        *(("hw", module) for layer in model.layers[depth:] for module in layer.self_attn.new_modules()),
    ]
    if not model.config.tied:
        modules.append(("head", model.language_model.lm_head))
    parts = {id(parameter): part for part, module in modules for parameter in module.parameters()}  # the last one wins
    return {name: parts[id(parameter)] for name, parameter in model.named_parameters()}


def stage1_trainable(config: NeoConfig) -> frozenset[str]:
    """Parameters that pre-Buffer pre-training trains: `prebuffer_keys`. All inherited from the LLM is frozen."""
    return prebuffer_keys(config)


def post_llm_keys(config: NeoConfig) -> frozenset[str]:
    """All that comes from the language model: embedding, head, last norm, and its layers without H and W."""
    return frozenset(parameter_shapes(config)) - prebuffer_keys(config)


def num_parameters(config: NeoConfig, keys: Iterable[str]) -> int:
    """Number of values in the named parameters."""
    shapes = parameter_shapes(config)
    return sum(torch.Size(shapes[key]).numel() for key in keys)


def freeze_for_stage1(model: NeoModel) -> None:
    """Require gradients of `stage1_trainable` only."""
    trainable = stage1_trainable(model.config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)


def _on_meta(config: NeoConfig) -> NeoModel:
    with torch.device("meta"):
        return NeoModel(config)
