"""A gentle start for the height and width keys that a language model gains.

Owns one deviation from the released conversion, which sets these keys to zero in front of an RMSNorm. There the slope
is 1 / sqrt(eps) = 1,000: their first gradients drown all others in the global clip, and since a norm forgets scale,
one optimizer step brings them to full size and shakes the language model. Here the zero stands behind the norm: keys
are read off the T keys as the queries are off the T queries, and their norm gains start at zero. The language model
computes what it did, no slope is steep, and height and width fade in as the gains grow, at the pace of the learning
rate. Names, shapes and the function computed are those of the released model.
"""

from __future__ import annotations

import torch

from neo_model.model import NeoModel
from neo_model.weights.qwen3 import hw_queries_from_t


@torch.no_grad()
def start_behind_the_norms(model: NeoModel) -> None:
    """Set the H/W keys of the post-LLM from its T keys, and the gains of their norms to zero."""
    for layer in model.layers[model.config.num_prebuffer_layers :]:
        attention = layer.self_attn
        attention.k_proj_hw.weight.copy_(hw_queries_from_t(attention.k_proj.weight, model.config.head_dim))
        attention.k_norm_h.weight.zero_()
        attention.k_norm_w.weight.zero_()
