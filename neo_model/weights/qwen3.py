"""Conversion of a plain Qwen3 checkpoint to the post-LLM of a NEO model.

Layer i becomes layer i + pre-Buffer depth. The new height and width queries are copied from T queries and their norm
gains are one; the new keys are zero, which leaves the output of the language model unchanged. An untied model without
a head gets a copy of its embedding.

Trap: the slope of an RMSNorm at zero is 1 / sqrt(eps) = 1,000, so the first gradients of zero keys are hundreds of
times larger than all others and dominate a clip by global norm. `new_weights.hw_weights` avoids this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from neo_model.config import NeoConfig
from neo_model.rotary import hw_rows_from_t
from neo_model.weights.tensor_report import check_tensors

PREFIX: Final = "language_model."
"""Prefix of the released names before Qwen3's."""

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def from_qwen3(tensors: Mapping[str, Tensor], config: NeoConfig) -> dict[str, Tensor]:
    """All tensors of a NEO model that come from Qwen3, the H and W parts of its layers included, in NEO's names.

    Like `renamed_qwen3`, and the height and width parameters as new tensors.
    """
    converted = renamed_qwen3(tensors, config)
    for layer in range(config.num_prebuffer_layers, config.num_layers):
        converted |= _hw_parameters(converted, f"{PREFIX}model.layers.{layer}.self_attn.", config)
    return converted


def renamed_qwen3(tensors: Mapping[str, Tensor], config: NeoConfig) -> dict[str, Tensor]:
    """The tensors of a plain Qwen3 in NEO's names, the same and not copied.

    `tensors` has the names of a Qwen3 checkpoint. Raises TensorMismatchError if they do not fit `config`. A missing
    head of an untied model is a copy of the embedding.
    """
    plain = dict(tensors)
    if config.tied:
        plain.pop(_HEAD, None)
    elif _HEAD not in plain and _EMBEDDING in plain:
        plain[_HEAD] = plain[_EMBEDDING].clone()
    check_tensors(plain, qwen3_shapes(config), what="the language model")
    return {neo_name(name, config): tensor for name, tensor in plain.items()}


def qwen3_shapes(config: NeoConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the plain Qwen3 under the pre-Buffer of `config`."""
    hidden, ffn, width = config.hidden, config.ffn, config.head_dim
    num_q, num_kv = config.num_heads * width, config.num_kv_heads * width
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (num_q, hidden),
        "self_attn.k_proj.weight": (num_kv, hidden),
        "self_attn.v_proj.weight": (num_kv, hidden),
        "self_attn.o_proj.weight": (hidden, num_q),
        "self_attn.q_norm.weight": (width,),
        "self_attn.k_norm.weight": (width,),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (ffn, hidden),
        "mlp.up_proj.weight": (ffn, hidden),
        "mlp.down_proj.weight": (hidden, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {_EMBEDDING: (config.vocab_size, hidden), "model.norm.weight": (hidden,)}
    for number in range(config.num_post_llm_layers):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return shapes if config.tied else shapes | {_HEAD: (config.vocab_size, hidden)}


def neo_name(name: str, config: NeoConfig) -> str:
    """The NEO name of a Qwen3 parameter: prefixed, its layer moved up by the depth of the pre-Buffer."""
    if not name.startswith("model.layers."):
        return PREFIX + name
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    return f"{PREFIX}model.layers.{int(layer) + config.num_prebuffer_layers}.{rest}"


def language_model_differences(config: NeoConfig, qwen3: Mapping[str, Any]) -> list[str]:
    """Differences between the Qwen3 of this `config.json` and the post-LLM of `config`, one line for each field."""
    other = NeoConfig.from_qwen3(
        qwen3,
        num_prebuffer_layers=config.num_prebuffer_layers,
        image_start_id=config.image_start_id,
        image_context_id=config.image_context_id,
        image_end_id=config.image_end_id,
    )
    names = ("hidden", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn", "vocab_size", "tied")
    return [
        f"{name} {getattr(config, name)} against {getattr(other, name)}"
        for name in (*names, "theta_t", "rms_eps")
        if getattr(config, name) != getattr(other, name)
    ]


def _hw_parameters(converted: Mapping[str, Tensor], attention: str, config: NeoConfig) -> dict[str, Tensor]:
    queries, keys = converted[attention + "q_proj.weight"], converted[attention + "k_proj.weight"]
    parameters = {
        "q_proj_hw.weight": hw_rows_from_t(queries, config.head_dim),
        "k_proj_hw.weight": torch.zeros_like(keys),
    }
    for norm in ("q_norm_h", "q_norm_w", "k_norm_h", "k_norm_w"):
        parameters[f"{norm}.weight"] = queries.new_ones(config.head_dim // 2)
    return {attention + name: tensor for name, tensor in parameters.items()}
