"""Every backend gives what a double loop gives, on random packs, forward and backward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neo_model.attention.backends import backend_named, default_backend, prepare
from neo_model.attention.interface import Backend
from neo_model.inputs.batch import Batch
from tests.neo_model.tiny import Piece, row, slow_attention

GRIDS = st.sampled_from([(2, 2), (2, 4), (4, 2), (4, 4), (2, 6), (6, 4)])
PIECES = st.lists(st.one_of(st.integers(1, 7), GRIDS), min_size=1, max_size=4)
PACKS = st.lists(PIECES, min_size=1, max_size=5)


def inputs(batch: Batch, heads: int, groups: int, seed: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch.num_tokens, heads, 16), (batch.num_tokens, groups, 16), (batch.num_tokens, groups, 8)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
@given(pack=PACKS, heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_like_the_double_loop(backend: Backend, pack: list[list[Piece]], heads: tuple[int, int], seed: int) -> None:
    batch = row(*pack)
    ours, slow = (inputs(batch, *heads, seed) for _ in range(2))
    out, expected = prepare(backend, batch)(*ours), slow_attention(batch, *slow)
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
    out.backward(slope)
    expected.backward(slope.double())
    for mine, theirs in zip(ours, slow, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_bfloat16_stays_within_its_own_rounding(backend: Backend) -> None:
    batch = row([5, (6, 4), 9], [(8, 8), 3], [40])
    half = inputs(batch, 4, 2, 1, torch.bfloat16)
    full = [x.detach().float().requires_grad_() for x in half]
    out, expected = prepare(backend, batch)(*half), prepare(Backend.SDPA, batch)(*full)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=0.02, rtol=0.02)
    out.sum().backward()
    expected.sum().backward()
    for mine, theirs in zip(half, full, strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert (mine.grad.float() - theirs.grad).norm() < 0.02 * theirs.grad.norm()


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_a_long_document_beside_short_ones(backend: Backend) -> None:
    """Groups of unlike length, and a document that spans several of the kernel's own blocks."""
    batch = row([700, (8, 8), 60], *([3, (4, 4), 2] for _ in range(9)), [1])
    q, k, v = inputs(batch, 2, 1, 3)
    out = prepare(backend, batch)(q, k, v)
    probe = batch.documents[1].item() - 1
    tail = slice(int(probe) - 40, batch.num_tokens)
    expected = _dense(batch, q, k, v)
    torch.testing.assert_close(out[tail], expected[tail], atol=1e-5, rtol=1e-5)


def _dense(batch: Batch, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    number = torch.bucketize(torch.arange(batch.num_tokens), batch.documents[1:], right=True)
    image = torch.zeros(batch.num_tokens, dtype=torch.int64)
    for count, (start, end) in enumerate(batch.image_spans.tolist(), start=1):
        image[start:end] = count
    index = torch.arange(batch.num_tokens)
    same_image = (image[:, None] == image) & (image > 0)
    visible = (number[:, None] == number) & ((index <= index[:, None]) | same_image)
    scores = torch.einsum("qhd,kgd->hqk", q, k) / v.shape[-1] ** 0.5
    return torch.einsum("hqk,kgd->qhd", scores.masked_fill(~visible, float("-inf")).softmax(-1), v)


def test_the_default_follows_the_device() -> None:
    assert default_backend(torch.device("cpu"), torch.float32, 256) == Backend.FLASH
    assert default_backend(torch.device("cuda"), torch.bfloat16, 256) == Backend.FLASH
    assert default_backend(torch.device("cuda"), torch.float32, 256) == Backend.FLEX
    assert default_backend(torch.device("cuda"), torch.bfloat16, 320) == Backend.FLEX
    assert default_backend(torch.device("meta"), torch.bfloat16, 256) == Backend.SDPA


def test_an_old_gpu_or_one_without_kernels_gets_flex(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, is_built, expected in (
        ((8, 0), True, Backend.FLASH),
        ((9, 0), False, Backend.FLEX),
        ((7, 5), True, Backend.FLEX),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda found=is_built: found)
        assert default_backend(cuda, torch.bfloat16, 256) == expected


@pytest.mark.parametrize(("name", "expected"), [("auto", Backend.FLASH), *((one.value, one) for one in Backend)])
def test_every_name_and_auto_is_a_backend(name: str, expected: Backend) -> None:
    assert backend_named(name, torch.device("cpu"), torch.float32, 32) == expected


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_text_that_is_seen_whole_is_seen_both_ways(backend: Backend) -> None:
    """Two runs of masked text, one of them behind a picture, beside text that looks back alone."""
    batch = replace(row([3, (4, 4), 6], [9], [4]), text_spans=torch.tensor([[10, 15], [16, 24]]))
    ours, slow = (inputs(batch, 4, 2, 5) for _ in range(2))
    out, expected = prepare(backend, batch)(*ours), slow_attention(batch, *slow)
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)
    assert not torch.equal(out, prepare(backend, replace(batch, text_spans=None))(*ours))
    out.sum().backward()
    expected.sum().backward()
    for mine, theirs in zip(ours, slow, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=5e-6, rtol=5e-6)
