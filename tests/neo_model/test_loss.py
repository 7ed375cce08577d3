"""The chunked weighted loss is the plain one: value and gradients, whatever the weights and the chunks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from neo_model import loss as loss_module
from neo_model.loss import weighted_loss


def problem(num_positions: int, vocab_size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_positions, 12, generator=generator).requires_grad_()
    head = torch.randn(vocab_size, 12, generator=generator).requires_grad_()
    targets = torch.randint(0, vocab_size, (num_positions,), generator=generator)
    return hidden, head, targets, torch.rand(num_positions, generator=generator) * 3


def plain(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (F.cross_entropy(F.linear(hidden, head), targets, reduction="none") * weights).sum()


@given(
    num_positions=st.integers(0, 40), vocab_size=st.integers(2, 60), chunk=st.integers(1, 50),
    outer=st.floats(-3, 3), seed=st.integers(0, 999),
)  # fmt: skip
@settings(deadline=None)
def test_like_the_plain_loss(num_positions: int, vocab_size: int, chunk: int, outer: float, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_module, "_chunk_size", lambda _: chunk)
        hidden, head, targets, weights = problem(num_positions, vocab_size, seed)
        ours = weighted_loss(hidden, head, targets, weights).loss
        gradients = torch.autograd.grad(ours * outer, (hidden, head))
    expected = plain(hidden, head, targets, weights)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(gradients, torch.autograd.grad(expected * outer, (hidden, head)), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_hidden_states_do() -> None:
    hidden, head, targets, weights = problem(9, 20, 0)
    weighted_loss(hidden, head.detach(), targets, weights).loss.backward()
    expected = torch.autograd.grad(plain(hidden, head, targets, weights), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected)


def test_without_gradients_none_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation costs one product a chunk, not three."""
    hidden, head, targets, weights = problem(9, 20, 0)
    expected = weighted_loss(hidden, head, targets, weights).loss
    products: list[torch.Size] = []
    product = torch.mm

    def counted(left: Tensor, right: Tensor, *, out: Tensor) -> Tensor:
        products.append(out.shape)
        return product(left, right, out=out)

    monkeypatch.delattr(loss_module, "_add_product")
    monkeypatch.setattr(torch, "mm", counted)
    with torch.no_grad():
        found = weighted_loss(hidden, head, targets, weights).loss
    assert products == [(20, 9)]
    assert not found.requires_grad
    assert torch.equal(found, expected)


def test_bfloat16_stays_within_its_own_rounding() -> None:
    full = problem(30, 40, 2)
    half = [x.detach().bfloat16().requires_grad_() for x in full[:2]]
    found = weighted_loss(*half, *full[2:]).loss
    expected = plain(*(x.float() for x in half), *full[2:])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0, rtol=0.01)
    for mine, theirs in zip(torch.autograd.grad(found, half), torch.autograd.grad(expected, half), strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine - theirs).norm() < 0.02 * theirs.norm()


def test_extreme_logits_stay_finite() -> None:
    hidden, head, targets, weights = problem(9, 20, 0)
    hidden = (300 * hidden).detach().requires_grad_()
    ours, expected = weighted_loss(hidden, head, targets, weights).loss, plain(hidden, head, targets, weights)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, hidden)[0], torch.autograd.grad(expected, hidden)[0])


def test_one_entropy_for_each_position() -> None:
    hidden, head, targets, weights = problem(30, 20, 1)
    loss, weight, entropies, pooled = weighted_loss(hidden, head, targets, weights)
    assert pooled is None
    expected = F.cross_entropy(F.linear(hidden, head), targets, reduction="none")
    torch.testing.assert_close(entropies, expected.detach())
    assert loss.requires_grad
    assert not entropies.requires_grad
    assert weight == weights.sum()
    assert weighted_loss(hidden[:0], head, targets[:0], weights[:0]).entropies.shape == (0,)


def test_logits_in_fp32_out_of_the_product_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the product that CUDA has, done here in two steps: the loss and its slope are those of exact logits."""
    hidden, head, targets, weights = problem(64, 300, 0)
    hidden, head = (x.detach().to(torch.bfloat16).requires_grad_() for x in (hidden, 4 * head))
    exact = plain(hidden.double(), head.double(), targets, weights.double())
    slope = torch.autograd.grad(exact, hidden)[0].double()
    product = torch.mm

    def mm(left: Tensor, right: Tensor, *, out: Tensor | None = None, out_dtype: torch.dtype | None = None) -> Tensor:
        return product(*((left, right) if out_dtype is None else (left.to(out_dtype), right.to(out_dtype))), out=out)

    def errors() -> tuple[float, float]:
        ours = weighted_loss(hidden, head, targets, weights).loss
        (grad,) = torch.autograd.grad(ours, hidden)
        return abs(float(ours) - float(exact)), float((grad.double() - slope).norm() / slope.norm())

    rounded = errors()
    monkeypatch.setattr(loss_module, "GIVES_FP32_PRODUCTS", {"cpu"})
    monkeypatch.setattr(torch, "mm", mm)
    loss_error, slope_error = errors()
    assert loss_error < 1e-5 * float(exact) < rounded[0]
    assert slope_error < 0.01 and slope_error < 0.7 * rounded[1]


def test_the_gradient_of_the_head_is_summed_in_fp32_also_where_chunks_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against float64, in bf16 and in blocks of three rows: parts that cancel to a hundredth keep their digits."""
    monkeypatch.setattr(loss_module, "BLOCK_VALUES", 3 * 8)
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(20, 64, generator=generator).bfloat16()
    right = torch.randn(64, 8, generator=generator)
    nearly = right * (1 + torch.randn(64, 8, generator=generator) / 100)
    chunks = [(left, right.bfloat16()), (-left, nearly.bfloat16())]
    total, rounded = torch.zeros(20, 8), torch.zeros(20, 8)
    for one, other in chunks:
        loss_module._add_product(total, one, other)
        rounded += one @ other
    exact = sum((one.double() @ other.double() for one, other in chunks), torch.zeros(20, 8, dtype=torch.float64))
    error, error_of_rounded = ((each.double() - exact).norm() / exact.norm() for each in (total, rounded))
    assert error < 1e-4 and error_of_rounded > 0.05, (error, error_of_rounded)
