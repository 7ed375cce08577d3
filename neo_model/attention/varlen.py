"""Causal attention over ragged segments with its log-sum-exp: one kernel for each kind of device.

Owns the calls into fused attention kernels of torch and of the flash-attn package. They go below the public
functions, which return no log-sum-exp and have no backward pass that is given one. Queries, keys and values share
one width E.

T tokens in S segments, h query heads, g key-value heads.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor

from neo_model.attention.interface import BackendUnavailableError
from neo_model.attention.segments import Group, Segments

HALF_PRECISIONS: Final = frozenset({torch.bfloat16, torch.float16})
"""What the CUDA kernels compute in."""
MAX_CUDA_DIM: Final = 256
"""Widest head of the CUDA kernels: that of NEO's queries and keys, 2 x 128."""
MIN_CUDA_CAPABILITY: Final = (8, 0)
"""Oldest GPUs that the CUDA kernels run on: A100."""


class Attended(NamedTuple):
    """The inputs of a backward pass, beside the gradient of the output."""

    q: Tensor
    """[T, h, E] queries."""
    k: Tensor
    """[T, g, E] keys."""
    v: Tensor
    """[T, g, E] values."""
    out: Tensor
    """[T, h, E] output of the whole softmax, of which the pass may be a part."""
    lse: Tensor
    """[T, h] fp32 log-sum-exp of the whole softmax."""


class VarlenKernel(Protocol):
    """Causal attention inside each segment."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> tuple[Tensor, Tensor]:
        """q [T, h, E], k and v [T, g, E] -> output [T, h, E], log-sum-exp [T, h] fp32."""
        ...

    def backward(
        self, grad: Tensor, attended: Attended, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient `grad` [T, h, E] of the output -> gradients of q, k and v."""
        ...


def kernel_for(device: torch.device) -> VarlenKernel:
    """The kernel for a kind of device. Raises BackendUnavailableError where there is none."""
    if device.type == "cpu":
        return CpuKernel()
    if device.type == "cuda":
        return FlashAttnKernel() if has_flash_attn() else TorchCudaKernel()
    raise BackendUnavailableError(f"flash: no ragged kernel for {device.type}; use sdpa")


def has_kernel(device: torch.device, dtype: torch.dtype, query_key_dim: int) -> bool:
    """Whether a kernel trains heads of this width in this precision: on a CPU all, on CUDA what FlashAttention-2 does.

    Without a GPU in this machine the answer is that of a GPU of compute capability 8.0 or later.
    """
    if device.type != "cuda":
        return device.type == "cpu"
    if dtype not in HALF_PRECISIONS or query_key_dim % 8 or query_key_dim > MAX_CUDA_DIM:
        return False
    if not torch.cuda.is_available():
        return True
    is_new = torch.cuda.get_device_capability(device) >= MIN_CUDA_CAPABILITY
    return is_new and (has_flash_attn() or torch.backends.cuda.is_flash_attention_available())


@cache
def has_flash_attn() -> bool:
    """Whether FlashAttention-2 can be imported. FlashAttention-4 alone has a `flash_attn` too, without its kernels.

    One that is installed but does not load, such as a build for another torch, counts as absent, with a warning.
    """
    try:
        return find_spec("flash_attn.flash_attn_interface") is not None
    except ModuleNotFoundError:
        return False
    except ImportError as error:
        warnings.warn(f"flash-attn is installed and does not load ({error}); torch's kernels are used", stacklevel=2)
        return False


class CpuKernel:
    """torch's flash kernel for the CPU, on padded groups of segments. Padding follows every query, so none sees it."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> tuple[Tensor, Tensor]:
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
        for group in segments.groups:
            group_out, group_lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                *(_padded(x, group) for x in (q, k, v)), 0.0, True, scale=scale
            )
            out.index_copy_(0, group.tokens, _ragged(group_out, group))
            lse.index_copy_(0, group.tokens, _ragged(group_lse.unsqueeze(-1), group).squeeze(-1))
        return out, lse

    def backward(
        self, grad: Tensor, attended: Attended, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        grads = tuple(torch.empty_like(x) for x in attended[:3])
        for group in segments.groups:
            group_grad = torch.zeros(group.rows.shape[0], *grad.shape[1:], dtype=grad.dtype)
            group_grad.index_copy_(0, group.cells, grad.index_select(0, group.tokens))
            group_grad = group_grad.view(*group.size, *grad.shape[1:]).transpose(1, 2)
            group_lse = _padded(attended.lse.unsqueeze(-1), group).squeeze(-1)
            parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                group_grad, *(_padded(x, group) for x in attended[:4]), group_lse, 0.0, True, scale=scale
            )
            for total, part in zip(grads, parts, strict=True):
                total.index_copy_(0, group.tokens, _ragged(part, group))
        dq, dk, dv = grads
        return dq, dk, dv


class FlashAttnKernel:
    """The flash-attn package, version 2: half precision, heads up to 256 wide, deterministic if torch is set to be."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> tuple[Tensor, Tensor]:
        from flash_attn.flash_attn_interface import _flash_attn_varlen_forward

        _require_half(q)
        ends = (segments.starts, segments.starts, segments.longest, segments.longest)
        out, lse, *_ = _flash_attn_varlen_forward(q, k, v, *ends, dropout_p=0.0, softmax_scale=scale, causal=True)
        return out, lse.transpose(0, 1)

    def backward(
        self, grad: Tensor, attended: Attended, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        from flash_attn.flash_attn_interface import _flash_attn_varlen_backward

        dq, dk, dv = (torch.empty_like(x) for x in attended[:3])
        _flash_attn_varlen_backward(
            *(grad, *attended[:4], attended.lse.transpose(0, 1).contiguous(), dq, dk, dv),
            *(segments.starts, segments.starts, segments.longest, segments.longest),
            dropout_p=0.0,
            softmax_scale=scale,
            causal=True,
            window_size_left=-1,
            window_size_right=-1,
            softcap=0.0,
            alibi_slopes=None,
            deterministic=torch.are_deterministic_algorithms_enabled(),
        )
        return dq, dk, dv


class TorchCudaKernel:
    """torch's build of the same kernels, for machines without flash-attn."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> tuple[Tensor, Tensor]:
        _require_half(q)
        out, lse, *_ = torch.ops.aten._flash_attention_forward(
            q, k, v, segments.starts, segments.starts, segments.longest, segments.longest, 0.0, True, False, scale=scale
        )
        return out, lse.transpose(0, 1)

    def backward(
        self, grad: Tensor, attended: Attended, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        no_dropout = torch.zeros(2, dtype=torch.uint64, device=grad.device)
        dq, dk, dv = torch.ops.aten._flash_attention_backward(
            *(grad, *attended[:4], attended.lse.transpose(0, 1).contiguous()),
            *(segments.starts, segments.starts, segments.longest, segments.longest),
            *(0.0, True, no_dropout, no_dropout[0]),
            scale=scale,
        )
        return dq, dk, dv


def _padded(x: Tensor, group: Group) -> Tensor:
    """[T, heads, width] -> [B, heads, length, width]."""
    return x.index_select(0, group.rows).view(*group.size, *x.shape[1:]).transpose(1, 2)


def _ragged(x: Tensor, group: Group) -> Tensor:
    """[B, heads, length, width] -> [t, heads, width]."""
    return x.transpose(1, 2).flatten(0, 1).index_select(0, group.cells)


def _require_half(q: Tensor) -> None:
    if q.dtype not in HALF_PRECISIONS:
        raise BackendUnavailableError(f"flash: needs bfloat16 on CUDA, not {q.dtype}; use flex or sdpa")
