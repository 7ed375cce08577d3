"""NEO written plainly: the baseline of `model_step`.

The same parameters and results as `neo_model` (a test compares it with recorded results), in the obvious way: a
dense boolean mask over the whole row through SDPA, rotary tables in every layer, logits at every position.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.config import NeoConfig
from neo_model.inputs.batch import Batch
from neo_model.loss import LossSum

Parameters = Mapping[str, Tensor]


def plain_loss(parameters: Parameters, config: NeoConfig, batch: Batch) -> LossSum:
    """The weighted loss of a row."""
    losses = F.cross_entropy(plain_logits(parameters, config, batch), batch.targets, reduction="none")
    return LossSum((losses * batch.weights).sum(), batch.weights.sum(), losses.detach()[batch.supervised_index])


def plain_logits(parameters: Parameters, config: NeoConfig, batch: Batch) -> Tensor:
    """Logits [L, V] of all positions."""
    embedding = parameters["language_model.model.embed_tokens.weight"]
    hidden = F.embedding(batch.input_ids, embedding)
    if len(batch.patches):
        hidden = hidden.index_copy(0, batch.context_index, visual_tokens(parameters, config, batch))
    mask = dense_mask(batch)
    for number in range(config.num_layers):
        prefix = f"language_model.model.layers.{number}."
        layer = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        normed = norm(hidden, layer["input_layernorm.weight"], config)
        hidden = hidden + attention(layer, config, normed, batch.positions, mask)
        normed = norm(hidden, layer["post_attention_layernorm.weight"], config)
        gate, up = (F.linear(normed, layer[f"mlp.{name}_proj.weight"]) for name in ("gate", "up"))
        hidden = hidden + F.linear(F.silu(gate) * up, layer["mlp.down_proj.weight"])
    head = embedding if config.tied else parameters["language_model.lm_head.weight"]
    return F.linear(norm(hidden, parameters["language_model.model.norm.weight"], config), head)


def visual_tokens(parameters: Parameters, config: NeoConfig, batch: Batch) -> Tensor:
    """Hidden states [visual tokens, H] of pictures: two convolutions written as products, a rotation between them."""
    conv = {name: parameters[f"vision_model.embeddings.{name}"] for name in (
        "patch_embedding.weight", "patch_embedding.bias", "dense_embedding.weight", "dense_embedding.bias"
    )}  # fmt: skip
    features = F.gelu(F.linear(batch.patches, conv["patch_embedding.weight"].flatten(1), conv["patch_embedding.bias"]))
    halves = []
    for axis, half in enumerate(features.chunk(2, dim=1)):
        angles = batch.patch_positions[:, axis, None] * frequencies(half.shape[1], config.theta_patch)
        cos, sin = angles.cos(), angles.sin()
        even, odd = half[:, 0::2], half[:, 1::2]
        halves.append(torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(1))
    squares = torch.cat(halves, dim=1).view(-1, 2, 2, config.patch_hidden).permute(0, 3, 1, 2)
    return F.linear(squares.flatten(1), conv["dense_embedding.weight"].flatten(1), conv["dense_embedding.bias"])


def attention(layer: Parameters, config: NeoConfig, hidden: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    """Output of one attention layer [L, H], for its input `hidden` [L, H]."""
    width = config.head_dim
    parts: dict[str, Tensor] = {}
    for side in ("q", "k"):
        t = F.linear(hidden, layer[f"self_attn.{side}_proj.weight"]).unflatten(1, (-1, width))
        h, w = F.linear(hidden, layer[f"self_attn.{side}_proj_hw.weight"]).unflatten(1, (-1, width)).chunk(2, dim=-1)
        normed = [
            norm(part, layer[f"self_attn.{side}_norm{axis}.weight"], config)
            for part, axis in ((t, ""), (h, "_h"), (w, "_w"))
        ]
        bases = (config.theta_t, config.theta_hw, config.theta_hw)
        rotated = [rotate(part, positions[:, axis], bases[axis]) for axis, part in enumerate(normed)]
        parts[side] = torch.cat(rotated, dim=-1).transpose(0, 1)[None]
    values = F.linear(hidden, layer["self_attn.v_proj.weight"]).unflatten(1, (-1, width)).transpose(0, 1)[None]
    out = F.scaled_dot_product_attention(
        parts["q"], parts["k"], values, attn_mask=mask, scale=width**-0.5, enable_gqa=True
    )
    return F.linear(out[0].transpose(0, 1).flatten(1), layer["self_attn.o_proj.weight"])


def rotate(heads: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Apply rotary positions [L] to heads [L, heads, width], first half against second half."""
    angles = (positions[:, None] * frequencies(heads.shape[-1], theta))[:, None]
    cos, sin = angles.cos(), angles.sin()
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def frequencies(width: int, theta: float) -> Tensor:
    """Rotary frequencies [width / 2]."""
    return 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def norm(x: Tensor, weight: Tensor, config: NeoConfig) -> Tensor:
    """RMS norm over the last dimension."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config.rms_eps) * weight


def dense_mask(batch: Batch) -> Tensor:
    """[L, L] bool: whether the query may see the key."""
    index = torch.arange(batch.num_tokens)
    document = torch.bucketize(index, batch.documents[1:], right=True)
    image = torch.zeros(batch.num_tokens, dtype=torch.int64)
    for number, (start, end) in enumerate(batch.image_spans.tolist(), start=1):
        image[start:end] = number
    same_image = (image[:, None] == image) & (image > 0)
    return (document[:, None] == document) & ((index <= index[:, None]) | same_image)
