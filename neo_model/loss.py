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

CHUNK_LOGITS: Final = 2**24
"""Logits that exist at once, 64 MiB in fp32; at least 128 positions go together whatever the vocabulary."""


class LossSum(NamedTuple):
    """What a row adds to the loss of an optimiser step, which is the sum of the losses over the sum of the weights."""

    loss: Tensor
    """Scalar fp32: sum of weight x cross-entropy."""
    weight: Tensor
    """Scalar fp32: sum of weights."""


def weighted_loss_sum(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over S of weight x cross-entropy: hidden [S, H], head [V, H], targets [S], weights [S] -> scalar fp32."""
    loss: Tensor = _WeightedLossSum.apply(hidden, head, targets, weights)  # type: ignore[no-untyped-call]
    return loss


@torch.no_grad()
def cross_entropies(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """[S] fp32 cross-entropy of each position, without a gradient, a chunk of logits at a time."""
    size = _chunk_size(head)
    parts = [
        F.cross_entropy(F.linear(states, head).float(), wanted, reduction="none")
        for states, wanted in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


class _WeightedLossSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for begin in range(0, hidden.shape[0], _chunk_size(head)):
            chunk = slice(begin, begin + _chunk_size(head))
            entropies, slopes = _entropies_and_slopes(F.linear(hidden[chunk], head), targets[chunk])
            loss += entropies @ weights[chunk]
            if grad_hidden is None and grad_head is None:
                continue
            slopes = slopes.mul_(weights[chunk, None]).to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(slopes, head, out=grad_hidden[chunk])
            if grad_head is not None:
                _add_product(grad_head, slopes.T, hidden[chunk])
        ctx.grads, ctx.head_dtype = (grad_hidden, grad_head), head.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_head = ctx.grads
        if grad_hidden is not None:
            grad_hidden = grad_hidden * outer[0]
        if grad_head is not None:
            grad_head = grad_head.mul_(outer[0]).to(ctx.head_dtype)
        return grad_hidden, grad_head, None, None


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
    return max(128, CHUNK_LOGITS // head.shape[0])
