"""On a CUDA device: every backend agrees with the plain one, at the widths of the published models, in both directions.

Queries and keys have heads of 256, values of 128; pictures have up to 4,096 tokens; rows have lengths off the grid.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neo_model.attention.backends import default_backend, prepare
from neo_model.attention.interface import Backend, BackendUnavailableError
from neo_model.attention.varlen import FlashAttnKernel, TorchCudaKernel, has_flash_attn
from neo_model.cached_conversation import CachedConversation
from neo_model.inputs.batch import Batch, pack
from neo_model.inputs.padding import pad_to_grid
from neo_model.layer import compiled_regions
from neo_model.loss import weighted_loss
from tests.neo_model.test_cached_conversation import film, joined
from tests.neo_model.tiny import CONTEXT, lively_model, row, tiny_config

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")
CONFIG = tiny_config(hidden=256, num_heads=4, num_kv_heads=2, head_dim=128, patch_hidden=64)
ROW = ([70, (8, 8), 90], [(16, 20), 30], [7], [3, (4, 4), 2])
ROWS_OF_ATTENTION = {
    "a picture of 4,096 tokens": ([(128, 128), 37],),
    "pictures and texts off the grid": ([70, (34, 46), 91], [(2, 2), 3], [1], [501], [(62, 30), (30, 62), 19]),
    "text": ([1023], [5], [129]),
}
HEADS, GROUPS = 16, 8
"""Heads of queries, and of keys and values, of the 2B size."""


def gradients(backend: Backend, dtype: torch.dtype, *, compiled: bool = False) -> list[Tensor]:
    model = lively_model(CONFIG, backend=backend).to(CUDA, dtype)
    if compiled:
        model.regions = compiled_regions()
    total = model(pad_to_grid(row(*ROW)).to(CUDA, dtype))
    total.loss.backward()
    return [
        total.loss.detach(),
        *(parameter.grad.float() for parameter in model.parameters() if parameter.grad is not None),
    ]


def attended(backend: Backend, batch: Batch, dtype: torch.dtype) -> list[Tensor]:
    """Output [L, 16, 128] of attention at the real widths, and gradients of queries, keys and values."""
    chance = torch.Generator(CUDA).manual_seed(0)
    shapes = [(batch.num_tokens, HEADS, 256), (batch.num_tokens, GROUPS, 256), (batch.num_tokens, GROUPS, 128)]
    inputs = [torch.randn(shape, generator=chance, device=CUDA).to(dtype).requires_grad_() for shape in shapes]
    out = prepare(backend, batch)(*inputs)
    out.backward(torch.randn(out.shape, generator=chance, device=CUDA).to(dtype))
    return [out.detach().float(), *(one.grad.float() for one in inputs if one.grad is not None)]


@pytest.mark.parametrize("kind", ROWS_OF_ATTENTION)
@pytest.mark.parametrize("backend", [Backend.FLASH, Backend.FLEX])
def test_attention_at_the_published_widths(backend: Backend, kind: str) -> None:
    batch = row(*ROWS_OF_ATTENTION[kind])
    batch = (pad_to_grid(batch) if backend is Backend.FLEX else batch).to(CUDA)
    exact = attended(Backend.SDPA, batch, torch.float32)
    for ours, expected in zip(attended(backend, batch, torch.bfloat16), exact, strict=True):
        assert (ours - expected).norm() <= 0.02 * expected.norm()


@pytest.mark.skipif(not has_flash_attn(), reason="needs the flash-attn package")
def test_the_package_and_torchs_build_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = row(*ROWS_OF_ATTENTION["a picture of 4,096 tokens"]).to(CUDA)
    results = []
    for kernel in (FlashAttnKernel(), TorchCudaKernel()):
        monkeypatch.setattr("neo_model.attention.flash.kernel_for", lambda _, found=kernel: found)
        results.append(attended(Backend.FLASH, batch, torch.bfloat16))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= 0.01 * other.norm()


def test_flash_is_the_default_in_half_precision_alone() -> None:
    assert default_backend(CUDA, torch.bfloat16, 256) is Backend.FLASH
    assert default_backend(CUDA, torch.float32, 256) is Backend.FLEX


def test_repeated_bits_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (gradients(Backend.FLASH, torch.bfloat16) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("part", ["flex", "layers"])
def test_rows_of_twenty_lengths_compile_few_times(part: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = lively_model(CONFIG, backend=Backend.FLEX if part == "flex" else Backend.FLASH).to(CUDA, torch.bfloat16)
    model.regions = compiled_regions() if part == "layers" else None
    lengths = set()
    for number in range(20):
        batch = pad_to_grid(row([(8, 8), 300 + 37 * number], seed=number)).to(CUDA, torch.bfloat16)
        lengths.add(batch.num_tokens)
        model(batch).loss.backward()
    num_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert num_graphs <= len(lengths) * (2 if part == "layers" else 1)


def test_logits_are_not_rounded() -> None:
    chance = torch.Generator(CUDA).manual_seed(0)
    hidden = torch.randn(300, 256, generator=chance, device=CUDA).bfloat16().requires_grad_()
    head = torch.randn(5000, 256, generator=chance, device=CUDA).bfloat16()
    targets = torch.randint(0, 5000, (300,), generator=chance, device=CUDA)
    ours = weighted_loss(hidden, head, targets, torch.ones(300, device=CUDA)).loss
    exact = torch.nn.functional.cross_entropy(hidden.double() @ head.double().T, targets, reduction="sum")
    assert abs(float(ours) - float(exact)) < 1e-5 * float(exact)
    (mine,), (theirs,) = (torch.autograd.grad(one, hidden) for one in (ours, exact))
    assert (mine - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("backend", [Backend.FLASH, Backend.FLEX])
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_like_the_plain_backend(backend: Backend, compiled: bool) -> None:
    for ours, plain in zip(
        gradients(backend, torch.bfloat16, compiled=compiled), gradients(Backend.SDPA, torch.bfloat16), strict=True
    ):
        assert (ours - plain).norm() <= 0.05 * plain.norm() + 1e-6


def test_flex_in_full_precision() -> None:
    for ours, plain in zip(gradients(Backend.FLEX, torch.float32), gradients(Backend.SDPA, torch.float32), strict=True):
        assert (ours - plain).norm() <= 1e-3 * plain.norm() + 1e-6


def test_flash_says_that_it_needs_half_precision() -> None:
    with pytest.raises(BackendUnavailableError, match="flash: needs bfloat16"):
        gradients(Backend.FLASH, torch.float32)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_a_growing_conversation_like_one_forward(dtype: torch.dtype, limit: float) -> None:
    model = lively_model(CONFIG).to(CUDA, dtype)
    conversation = CachedConversation(model)
    parts = film(6)
    for number, part in enumerate(parts, start=1):
        conversation.append(part)
        so_far = joined(parts[:number])
        batch = pack([so_far.document()], so_far.patches, image_context_id=CONTEXT).to(CUDA, dtype)
        with torch.no_grad():
            expected = model.logits(batch)[-1].float()
        assert (conversation.next_logits().float() - expected).norm() <= limit * expected.norm()
