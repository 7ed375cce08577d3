"""Two causal passes merged by log-sum-exp are the mixed mask, whatever kernel runs them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neo_model.attention.flash import TwoPassAttention, plan_passes
from neo_model.attention.interface import BackendUnavailableError
from neo_model.attention.segments import Segments
from neo_model.attention.varlen import Attended, FlashAttnKernel, VarlenKernel, kernel_for
from tests.neo_model.attention.test_backends import PACKS, inputs
from tests.neo_model.tiny import Piece, row, slow_attention

CPU = torch.device("cpu")


class PlainKernel:
    """Causal attention one segment at a time, in torch's plainest operations; its backward is written out."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float) -> tuple[Tensor, Tensor]:
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:2])
        for run in _runs(segments):
            scores = _scores(q[run], k[run], scale)
            lse[run] = scores.logsumexp(dim=-1).T
            out[run] = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), _spread(v[run], q))
        return out, lse

    def backward(
        self, grad: Tensor, attended: Attended, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, lse = attended
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        for run in _runs(segments):
            shares = torch.exp(_scores(q[run], k[run], scale) - lse[run].T[:, :, None])
            moved = torch.einsum("qhd,khd->hqk", grad[run], _spread(v[run], q))
            moved = shares * (moved - (grad[run] * out[run]).sum(dim=-1).T[:, :, None]) * scale
            dq[run] = torch.einsum("hqk,khd->qhd", moved, _spread(k[run], q))
            dk[run] = _gathered(torch.einsum("hqk,qhd->khd", moved, q[run]), k)
            dv[run] = _gathered(torch.einsum("hqk,qhd->khd", shares, grad[run]), v)
        return dq, dk, dv


def _runs(segments: Segments) -> list[slice]:
    ends = segments.lengths.cumsum().tolist()
    return [slice(end - length, end) for length, end in zip(segments.lengths.tolist(), ends, strict=True)]


def _scores(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """[h, n, n], minus infinity where the key comes later."""
    scores = torch.einsum("qhd,khd->hqk", q, _spread(k, q)) * scale
    return scores.masked_fill(torch.ones_like(scores[0], dtype=torch.bool).triu(1), float("-inf"))


def _spread(x: Tensor, q: Tensor) -> Tensor:
    """[n, g, E] -> [n, h, E]: every query head beside its key-value head."""
    return x.repeat_interleave(q.shape[1] // x.shape[1], dim=1)


def _gathered(x: Tensor, like: Tensor) -> Tensor:
    """[n, h, E] -> [n, g, E], summed over the query heads of each key-value head."""
    return x.unflatten(1, (like.shape[1], -1)).sum(dim=2)


def check(pack: list[list[Piece]], heads: tuple[int, int], kernel: VarlenKernel) -> None:
    batch = row(*pack)
    ours, slow = (inputs(batch, *heads, seed=1) for _ in range(2))
    out = TwoPassAttention.apply(*ours, plan_passes(batch, CPU, kernel))  # type: ignore[no-untyped-call]
    expected = slow_attention(batch, *slow)
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    out.backward(slope)
    expected.backward(slope.double())
    for mine, theirs in zip(ours, slow, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=5e-6, rtol=5e-6)


@given(pack=PACKS, heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]))
@settings(max_examples=15, deadline=None)
def test_the_decomposition_is_the_mixed_mask(pack: list[list[Piece]], heads: tuple[int, int]) -> None:
    """With a plain kernel, so that nothing but the decomposition can be wrong."""
    check(pack, heads, PlainKernel())


@pytest.fixture
def flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two functions that we call of flash-attn 2.8, by its signatures, computed by the plain kernel."""
    plain = PlainKernel()

    def _flash_attn_varlen_forward(
        q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int,
        max_seqlen_k: int, dropout_p: float, softmax_scale: float, causal: bool, window_size_left: int = -1,
        window_size_right: int = -1, softcap: float = 0.0, alibi_slopes: Tensor | None = None,
        return_softmax: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        assert causal
        assert dropout_p == 0
        assert (cu_seqlens_q.dtype, cu_seqlens_q[0].item()) == (torch.int32, 0)
        assert max_seqlen_q == max_seqlen_k == int(cu_seqlens_k.diff().max())
        segments = Segments(cu_seqlens_q.diff().numpy(), CPU)
        out, lse = plain.forward(q, k, v, segments, softmax_scale)
        return out, lse.T.contiguous(), torch.empty(0), torch.empty(2)

    def _flash_attn_varlen_backward(
        dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, softmax_lse: Tensor, dq: Tensor, dk: Tensor,
        dv: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int, dropout_p: float,
        softmax_scale: float, causal: bool, window_size_left: int, window_size_right: int, softcap: float,
        alibi_slopes: Tensor | None, deterministic: bool, rng_state: Tensor | None = None, zero_tensors: bool = False,
    ) -> Tensor:  # fmt: skip
        assert causal
        assert softmax_lse.shape == (q.shape[1], q.shape[0])
        segments = Segments(cu_seqlens_q.diff().numpy(), CPU)
        attended = Attended(q, k, v, out, softmax_lse.T)
        for into, found in zip((dq, dk, dv), plain.backward(dout, attended, segments, softmax_scale), strict=True):
            into.copy_(found)
        return torch.empty(0)

    module = ModuleType("flash_attn.flash_attn_interface")
    module.__dict__.update(
        _flash_attn_varlen_forward=_flash_attn_varlen_forward, _flash_attn_varlen_backward=_flash_attn_varlen_backward
    )
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.flash_attn_interface", module)


@pytest.mark.usefixtures("flash_attn")
def test_flash_attn_is_called_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package needs a GPU to be built; here its functions are stood in for, signatures and layouts as they are."""
    monkeypatch.setattr("neo_model.attention.varlen._require_half", lambda _: None)
    check([[3, (4, 4), 2], [(2, 6)], [5]], (4, 2), FlashAttnKernel())


def test_a_device_without_a_kernel_is_named() -> None:
    with pytest.raises(BackendUnavailableError, match="flash: no ragged kernel for meta; use sdpa"):
        kernel_for(torch.device("meta"))
