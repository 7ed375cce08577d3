"""Weighted cross-entropy over a large vocabulary, without the logits.

Owns the loss of a row: hidden states go through the output head a chunk at a time, and each chunk's gradients are
taken while its logits exist, so that three matrix products suffice and nothing of size S x V is kept. Sums are fp32.

S supervised positions, V rows of the head, H hidden width.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_LOGITS: Final = {"cpu": 2**23, "cuda": 2**28}
"""Logits that exist at once, by kind of device: 32 MiB and 1 GiB in fp32."""
MIN_CHUNK: Final = 64
"""Positions that go together whatever the vocabulary: fewer make slow products."""


class LossSum(NamedTuple):
    """What a row adds to the loss of an optimiser step, which is the sum of the losses over the sum of the weights."""

    loss: Tensor
    """Scalar fp32: sum of weight x cross-entropy."""
    weight: Tensor
    """Scalar fp32: sum of weights."""
    entropies: Tensor
    """[S] fp32 cross-entropy of each supervised position, without a gradient: for telling sources apart."""


def weighted_loss(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> LossSum:
    """The loss of supervised positions: hidden [S, H], head [V, H], targets [S], weights [S]."""
    if not torch.is_grad_enabled():
        hidden, head = hidden.detach(), head.detach()
    loss, entropies = _WeightedLoss.apply(hidden, head, targets, weights)  # type: ignore[no-untyped-call]
    return LossSum(loss, weights.sum(), entropies)


class _WeightedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        entropies = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for begin in range(0, hidden.shape[0], _chunk_size(head)):
            chunk = slice(begin, begin + _chunk_size(head))
            parts = hidden[chunk], targets[chunk], weights[chunk]
            into = None if grad_hidden is None else grad_hidden[chunk]
            entropies[chunk] = _chunk_entropies(*parts, head, into, grad_head)
        ctx.grads, ctx.head_dtype = (grad_hidden, grad_head), head.dtype
        ctx.mark_non_differentiable(entropies)
        return entropies @ weights, entropies

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_head = ctx.grads
        if grad_hidden is not None:
            grad_hidden = grad_hidden * outer[0]
        if grad_head is not None:
            grad_head = grad_head.mul_(outer[0]).to(ctx.head_dtype)
        return grad_hidden, grad_head, None, None


def _chunk_entropies(  # noqa: PLR0917
    hidden: Tensor, targets: Tensor, weights: Tensor, head: Tensor, grad_hidden: Tensor | None, grad_head: Tensor | None
) -> Tensor:
    """Cross-entropies of a chunk; writes its part of `grad_hidden`, adds to `grad_head`. Its logits end with it."""
    entropies, slopes = _entropies_and_slopes(F.linear(hidden, head), targets)
    if grad_hidden is not None or grad_head is not None:
        slopes = slopes.mul_(weights[:, None]).to(hidden.dtype)
    if grad_hidden is not None:
        torch.mm(slopes, head, out=grad_hidden)
    if grad_head is not None:
        _add_product(grad_head, slopes.T, hidden)
    return entropies


def _entropies_and_slopes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy [n] and its slope [n, V] for logits [n, V], in fp32; uses up fp32 logits."""
    values = logits.float()
    largest = values.amax(dim=1, keepdim=True)
    wanted = values.gather(1, targets[:, None]) - largest
    shares = values.sub_(largest).exp_()
    total = shares.sum(dim=1, keepdim=True)
    slopes = shares.div_(total)
    slopes.scatter_add_(1, targets[:, None], torch.full_like(wanted, -1.0))
    return (total.log() - wanted).squeeze(1), slopes


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, accumulated in fp32."""
    if right.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _chunk_size(head: Tensor) -> int:
    return max(MIN_CHUNK, CHUNK_LOGITS.get(head.device.type, CHUNK_LOGITS["cpu"]) // head.shape[0])
