"""First values of the height and width keys that a language model gains: copies of T keys with a norm gain of zero.

Owns one deviation from the released conversion, which sets these keys to zero before their RMSNorm. The slope of an
RMSNorm at zero is 1 / sqrt(eps) = 1,000: the first gradients of the keys dominate the clip by global norm, and since
a norm ignores scale, one optimizer step brings them to full size and disturbs the language model.

Here the keys are copied from T keys, as the queries are from T queries, and the gains of their norms are zero. Their
output is zero, so the language model computes what it did; their gradients stay bounded; height and width grow with
the gains, at the pace of the learning rate. Names, shapes and the function computed are those of the released model.
"""

from __future__ import annotations

import torch

from neo_model.model import NeoModel
from neo_model.rotary import hw_rows_from_t


@torch.no_grad()
def init_hw_with_zero_gain(model: NeoModel) -> None:
    """Copy the H/W keys of the post-LLM from its T keys, and set the gains of their norms to zero."""
    for layer in model.layers[model.config.num_prebuffer_layers :]:
        attention = layer.self_attn
        attention.k_proj_hw.weight.copy_(hw_rows_from_t(attention.k_proj.weight, model.config.head_dim))
        attention.k_norm_h.weight.zero_()
        attention.k_norm_w.weight.zero_()
