"""Weighted cross-entropy over a large vocabulary, without the logits.

Owns the loss of a row: hidden states go through the output head a chunk at a time, and each chunk's gradients are
taken while its logits exist, so that three matrix products suffice and nothing of size S x V is kept. Sums are fp32.
Logits lie in one room for all chunks, vocabulary first: on the CPU that product takes two thirds of the time.

S supervised positions, V rows of the head, H hidden width.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

CHUNK_LOGITS: Final = {"cpu": 2**23, "cuda": 2**28, "meta": 2**28}
"""Logits that exist at once, by kind of device: 32 MiB and 1 GiB in fp32. The meta device rehearses for CUDA."""
MIN_CHUNK: Final = 128
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
        room = head.new_empty(head.shape[0] * min(_chunk_size(head), hidden.shape[0]))
        for begin in range(0, hidden.shape[0], _chunk_size(head)):
            chunk = slice(begin, begin + _chunk_size(head))
            states = hidden[chunk]
            logits = room[: head.shape[0] * states.shape[0]].view(head.shape[0], -1)
            torch.mm(head, states.T, out=logits)
            entropies[chunk], slopes, totals = _entropies_and_slopes(logits, targets[chunk])
            scale = (weights[chunk] / totals)[:, None]
            if grad_hidden is not None:
                torch.mm(slopes.T, head, out=grad_hidden[chunk]).mul_(scale)
            if grad_head is not None:
                _add_product(grad_head, slopes, (states * scale).to(states.dtype))
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


def _entropies_and_slopes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of logits [V, n], which are used up: cross-entropies [n], their slopes [V, n] times totals, the totals [n].

    In fp32 but for the slopes, which have the precision of the logits. The totals, like the weights, go into narrow
    factors of the products: multiplying the wide one costs another walk through memory.
    """
    values = logits.float()
    largest = values.amax(dim=0)
    wanted = values.gather(0, targets[None]).squeeze(0) - largest
    shares = values.sub_(largest).exp_()
    totals = shares.sum(dim=0)
    shares.scatter_add_(0, targets[None], -totals[None])
    return totals.log() - wanted, shares.to(logits.dtype), totals


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, accumulated in fp32."""
    if right.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _chunk_size(head: Tensor) -> int:
    return max(MIN_CHUNK, CHUNK_LOGITS.get(head.device.type, CHUNK_LOGITS["cpu"]) // head.shape[0])
