"""One layer of the stack: attention with T, H and W channels in each head, and a SwiGLU feed-forward.

Owns the parameters of a layer under their released names. A query or key is Qwen3's (T), followed by as many new
channels (H and W, half each) from separate projections; values and output are Qwen3's.

L tokens, h query heads, g key-value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neo_model.attention.interface import Attend
from neo_model.config import NeoConfig
from neo_model.rotary import RotaryTables, hw_rows_from_t, rotate

INIT_STD: Final = 0.02
"""Standard deviation of the initial values of linear maps and embeddings."""
MAX_COMPILED: Final = 128
"""Most compilations of one function. Rows of up to 64K tokens have 56 lengths on the grid, and layers two forms, frozen
and trained. Torch's own limit of 8 would be an error in the middle of a training."""


class Linear(nn.Linear):
    """A linear map without bias."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draw N(0, INIT_STD). Does nothing on the meta device, where drawing would only import torch's compiler."""
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=INIT_STD)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, in fp32 inside."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self._eps)

    def reset_parameters(self) -> None:
        """Set the gain to one."""
        nn.init.ones_(self.weight)


class Attention(nn.Module):
    """Projections, norms and rotation of queries and keys. Released name: `self_attn`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        hidden, width, eps = config.hidden, config.head_dim, config.rms_eps
        self.q_proj = Linear(hidden, config.num_heads * width)
        self.k_proj = Linear(hidden, config.num_kv_heads * width)
        self.v_proj = Linear(hidden, config.num_kv_heads * width)
        self.o_proj = Linear(config.num_heads * width, hidden)
        self.q_norm = RMSNorm(width, eps)
        self.k_norm = RMSNorm(width, eps)
        self.q_proj_hw = Linear(hidden, config.num_heads * width)
        self.k_proj_hw = Linear(hidden, config.num_kv_heads * width)
        self.q_norm_h = RMSNorm(width // 2, eps)
        self.q_norm_w = RMSNorm(width // 2, eps)
        self.k_norm_h = RMSNorm(width // 2, eps)
        self.k_norm_w = RMSNorm(width // 2, eps)
        self._width = width

    def new_modules(self) -> list[nn.Module]:
        """The H/W modules, which a plain Qwen3 layer does not have."""
        return [self.q_proj_hw, self.k_proj_hw, self.q_norm_h, self.q_norm_w, self.k_norm_h, self.k_norm_w]

    @torch.no_grad()
    def inherit_hw_from_t(self) -> None:
        """Initialise H and W as the released conversion from Qwen3 does: queries from T queries, keys zero."""
        self.q_proj_hw.weight.copy_(hw_rows_from_t(self.q_proj.weight, self._width))
        self.k_proj_hw.weight.zero_()

    def queries_keys_values(self, hidden: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Normed hidden [L, H] -> q [L, h, 2 D], k [L, g, 2 D], v [L, g, D]."""
        q_t, k_t, v = (
            projection(hidden).unflatten(-1, (-1, self._width))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q_hw, k_hw = (
            projection(hidden).unflatten(-1, (-1, 2, self._width // 2))
            for projection in (self.q_proj_hw, self.k_proj_hw)
        )
        q_hw = torch.stack((self.q_norm_h(q_hw[..., 0, :]), self.q_norm_w(q_hw[..., 1, :])), dim=-2)
        k_hw = torch.stack((self.k_norm_h(k_hw[..., 0, :]), self.k_norm_w(k_hw[..., 1, :])), dim=-2)
        return rotate(self.q_norm(q_t), q_hw, tables), rotate(self.k_norm(k_t), k_hw, tables), v


class FeedForward(nn.Module):
    """SwiGLU, [L, H] -> [L, H]. Released name: `mlp`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden, config.ffn)
        self.up_proj = Linear(config.hidden, config.ffn)
        self.down_proj = Linear(config.ffn, config.hidden)

    def forward(self, hidden: Tensor) -> Tensor:
        fed: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return fed


class Regions(NamedTuple):
    """The computations before and after attention, compiled once for all layers and all rows of one length."""

    before: Callable[[Layer, Tensor, RotaryTables], tuple[Tensor, Tensor, Tensor]]
    after: Callable[[Layer, Tensor, Tensor], Tensor]


def compiled_regions(backend: str | Callable[..., object] = "inductor") -> Regions:
    """Compile both regions for fixed lengths. Pad rows to few lengths first (`inputs.padding.pad_to_grid`)."""
    before, after = (
        torch.compile(  # type: ignore[call-overload] # its overloads lack the limit
            region, backend=backend, dynamic=False, fullgraph=True, recompile_limit=MAX_COMPILED
        )
        for region in (Layer.before_attention, Layer.after_attention)
    )
    return Regions(before, after)


class Layer(nn.Module):
    """Pre-norm residual layer, [L, H] -> [L, H]."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.rms_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.rms_eps)
        self.mlp = FeedForward(config)

    def forward(self, hidden: Tensor, tables: RotaryTables, attend: Attend, regions: Regions | None = None) -> Tensor:
        # Unbound functions, because one compiled function serves every layer.
        before, after = regions or (Layer.before_attention, Layer.after_attention)
        q, k, v = before(self, hidden, tables)
        return after(self, hidden, attend(q, k, v))

    def before_attention(self, hidden: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden [L, H] -> q [L, h, 2 D], k [L, g, 2 D], v [L, g, D]."""
        return self.self_attn.queries_keys_values(self.input_layernorm(hidden), tables)

    def after_attention(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Hidden [L, H] and attention output [L, h, D] -> hidden [L, H]."""
        hidden = hidden + self.self_attn.o_proj(attended.flatten(1))
        fed: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return fed
