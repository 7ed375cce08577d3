"""Two causal passes merged by log-sum-exp equal the mixed mask, and each kernel is called as its release expects."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neo_model.attention.flash import TwoPassAttention, plan_passes
from neo_model.attention.interface import BackendUnavailableError
from neo_model.attention.segments import Segments
from neo_model.attention.varlen import (
    Attended,
    FlashAttnKernel,
    TorchCudaKernel,
    VarlenKernel,
    has_flash_attn,
    kernel_for,
)
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


SIGNATURES = json.loads((Path(__file__).parent / "flash_attn_2_8.json").read_text())["parameters"]


def recorded_signature(name: str) -> inspect.Signature:
    """The signature that the file records: "window_size_left = -1" is a parameter with a default."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    for text in SIGNATURES[name]:
        parameter, _, default = text.partition(" = ")
        value = ast.literal_eval(default) if default else inspect.Parameter.empty
        parameters.append(inspect.Parameter(parameter, kind, default=value))
    return inspect.Signature(parameters)


def bound(name: str, *args: object, **kwargs: object) -> dict[str, Any]:
    """Arguments by name, as flash-attn would bind them. Raises TypeError for a call that it would refuse."""
    arguments = recorded_signature(name).bind(*args, **kwargs)
    arguments.apply_defaults()
    given = arguments.arguments
    assert given["causal"] is True
    assert given["dropout_p"] == 0
    assert given["softcap"] == 0
    assert (given["window_size_left"], given["window_size_right"]) == (-1, -1), "no window"
    assert given["alibi_slopes"] is None
    for side in ("q", "k"):
        starts = given[f"cu_seqlens_{side}"]
        assert (starts.dtype, starts[0].item(), starts[-1].item()) == (torch.int32, 0, len(given[side]))
        assert given[f"max_seqlen_{side}"] == int(starts.diff().max())
    return given


def forward_like_flash_attn(*args: object, **kwargs: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = bound("_flash_attn_varlen_forward", *args, **kwargs)
    segments = Segments(given["cu_seqlens_q"].diff().numpy(), CPU)
    out, lse = PlainKernel().forward(given["q"], given["k"], given["v"], segments, given["softmax_scale"])
    return out, lse.T.contiguous(), torch.empty(0), torch.empty(2)


def backward_like_flash_attn(*args: object, **kwargs: object) -> Tensor:
    given = bound("_flash_attn_varlen_backward", *args, **kwargs)
    q, k, v, out, lse = (given[name] for name in ("q", "k", "v", "out", "softmax_lse"))
    assert lse.shape == (q.shape[1], q.shape[0])
    assert lse.is_contiguous()
    segments = Segments(given["cu_seqlens_q"].diff().numpy(), CPU)
    gradients = PlainKernel().backward(given["dout"], Attended(q, k, v, out, lse.T), segments, given["softmax_scale"])
    for name, gradient in zip(("dq", "dk", "dv"), gradients, strict=True):
        given[name].copy_(gradient)
    return torch.empty(0)


@pytest.fixture
def flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose two functions bind their arguments by the recorded signatures; a plain kernel computes."""
    module = ModuleType("flash_attn.flash_attn_interface")
    module.__dict__["_flash_attn_varlen_forward"] = forward_like_flash_attn
    module.__dict__["_flash_attn_varlen_backward"] = backward_like_flash_attn
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.flash_attn_interface", module)


@pytest.mark.usefixtures("flash_attn")
def test_calls_of_flash_attn_fit_the_signatures_of_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the package needs a GPU; names, defaults and their sequence are read from the released source."""
    monkeypatch.setattr("neo_model.attention.varlen._require_half", lambda _: None)
    check([[3, (4, 4), 2], [(2, 6)], [5]], (4, 2), FlashAttnKernel())


@pytest.mark.skipif(not has_flash_attn(), reason="needs the flash-attn package")
@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_an_installed_flash_attn_has_the_recorded_signatures(name: str) -> None:
    function = getattr(import_module("flash_attn.flash_attn_interface"), name)
    parameters = inspect.signature(getattr(function, "_init_fn", function)).parameters.values()
    expected = recorded_signature(name).parameters.values()
    assert [(p.name, p.default) for p in parameters][: len(expected)] == [(p.name, p.default) for p in expected]


def test_calls_of_torchs_cuda_kernels_fit_their_schema() -> None:
    """On the meta device, where torch checks arguments and shapes and computes nothing."""
    segments = Segments(np.array([3, 5, 2]), torch.device("meta"))
    q, k = (torch.empty(10, heads, 32, dtype=torch.bfloat16, device="meta") for heads in (4, 2))
    kernel = TorchCudaKernel()
    out, lse = kernel.forward(q, k, k, segments, 0.25)
    assert (out.shape, lse.shape, lse.dtype) == (q.shape, (10, 4), torch.float32)
    gradients = kernel.backward(out, Attended(q, k, k, out, lse), segments, 0.25)
    assert [gradient.shape for gradient in gradients] == [q.shape, k.shape, k.shape]


@pytest.mark.parametrize(
    ("files", "is_there"),
    [
        ({"flash_attn/cute/__init__.py": ""}, False),  # FlashAttention-4 alone: no `flash_attn/__init__.py`
        ({"flash_attn/__init__.py": "", "flash_attn/flash_attn_interface.py": ""}, True),
        ({}, False),
    ],
)
def test_flash_attention_2_is_told_from_4(
    files: dict[str, str], is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_here(tmp_path, files, monkeypatch)
    assert has_flash_attn() is is_there
    assert isinstance(kernel_for(torch.device("cuda")), FlashAttnKernel if is_there else TorchCudaKernel)


def test_a_flash_attn_that_does_not_load_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_here(tmp_path, {"flash_attn/__init__.py": "raise ImportError('undefined symbol: _ZN3c10')"}, monkeypatch)
    with pytest.warns(UserWarning, match="does not load .undefined symbol: _ZN3c10.; torch's kernels are used"):
        assert not has_flash_attn()


def only_here(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a `flash_attn` be found as these files, and nowhere else."""
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    for name in [name for name in sys.modules if name.split(".")[0] == "flash_attn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr("neo_model.attention.varlen.has_flash_attn", has_flash_attn.__wrapped__)
    monkeypatch.setitem(globals(), "has_flash_attn", has_flash_attn.__wrapped__)


def test_a_device_without_a_kernel_is_named() -> None:
    with pytest.raises(BackendUnavailableError, match="flash: no ragged kernel for meta; use sdpa"):
        kernel_for(torch.device("meta"))
