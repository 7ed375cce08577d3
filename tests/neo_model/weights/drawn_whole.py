"""A language model made ready as a whole: what the new weights that training draws one by one are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from neo_model.model import NeoModel
from neo_model.rotary import hw_rows_from_t
from neo_model.weights.qwen3 import from_qwen3


def load_language_model(model: NeoModel, tensors: Mapping[str, Tensor]) -> None:
    """Copy a plain Qwen3's tensors into the post-LLM of `model`; pre-Buffer and patch embedding do not change."""
    model.load_state_dict(from_qwen3(tensors, model.config), strict=False)


@torch.no_grad()
def init_hw_with_zero_gain(model: NeoModel) -> None:
    """Copy the H/W keys of the post-LLM from its T keys, and set the gains of their norms to zero."""
    for layer in model.layers[model.config.num_prebuffer_layers :]:
        attention = layer.self_attn
        attention.k_proj_hw.weight.copy_(hw_rows_from_t(attention.k_proj.weight, model.config.head_dim))
        attention.k_norm_h.weight.zero_()
        attention.k_norm_w.weight.zero_()
