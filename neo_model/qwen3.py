"""A plain Qwen3 checkpoint becomes the post-LLM of a NEO model.

Owns the rules of the conversion, on tensors alone: layer i becomes layer i + pre-Buffer depth; the new height and
width queries are read off the T queries; their keys are zero, so that the language model computes what it did; their
norms are one. The head is copied unless tied.
"""

from __future__ import annotations

import torch
from torch import Tensor


def hw_queries_from_t(q_proj: Tensor, head_dim: int) -> Tensor:
    """Weight of `q_proj_hw` from that of `q_proj`, both [heads * D, hidden].

    In each head, quarters 1 and 3 of the D rows (the fastest rotations of each half, so that pairs stay pairs)
    serve as H and again as W.
    """
    first, _, third, _ = q_proj.unflatten(0, (-1, 4, head_dim // 4)).unbind(1)
    part = torch.cat((first, third), dim=1)
    return torch.cat((part, part), dim=1).flatten(0, 1)
