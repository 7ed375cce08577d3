"""Weighted cross-entropy over a large vocabulary, without keeping the logits.

Owns the loss of a row. Hidden states go through the output head in chunks, and the gradients of a chunk are computed
while its logits exist: three matrix products in total, and nothing of size S x V is kept. Sums are fp32, on CUDA logits
too. All chunks share one buffer of logits, vocabulary first: on the CPU the product in this layout takes two thirds of
the time.

S supervised positions, V rows of the head, H hidden width.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

CHUNK_LOGITS: Final = {"cpu": 2**23, "cuda": 2**28, "meta": 2**28}
"""Logits of a chunk, by kind of device: 32 MiB and 1 GiB in fp32. The meta device stands for CUDA."""
GIVES_FP32_PRODUCTS: Final = frozenset({"cuda", "meta"})
"""Kinds of device whose products of bf16 matrices can be written in fp32. The meta device stands for CUDA."""
BLOCK_VALUES: Final = 2**26
"""Values of a product that are held in fp32 before they are added to a sum: 256 MiB."""
MIN_CHUNK: Final = 128
"""Smallest chunk, in positions: with fewer, the matrix products are slow."""


class LossSum(NamedTuple):
    """One row's part of the loss of an optimizer step, which is the sum of losses over the sum of weights."""

    loss: Tensor
    """Scalar fp32: sum of weight x cross-entropy."""
    weight: Tensor
    """Scalar fp32: sum of weights."""
    entropies: Tensor
    """[S] fp32 cross-entropy of each supervised position, without gradient: for the losses of single sources."""
    pooled: Tensor | None = None
    """[2Q, H] fp32 pooled states of the row's pairs (`inputs.pairs`); None where pairs are not compared."""

    def detached(self) -> LossSum:
        """The sums without gradients, and without pooled states."""
        return LossSum(self.loss.detach(), self.weight.detach(), self.entropies.detach())


def weighted_loss(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> LossSum:
    """The weighted loss of hidden [S, H] under head [V, H], for targets [S] and weights [S].

    Gradients are computed in the forward pass, for `hidden` and `head` where they require one.
    """
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
        room = head.shape[0] * min(_chunk_size(head), hidden.shape[0])
        buffer = torch.empty(room, dtype=_logits_dtype(head), device=head.device)
        for begin in range(0, hidden.shape[0], _chunk_size(head)):
            chunk = slice(begin, begin + _chunk_size(head))
            states = hidden[chunk]
            logits = buffer[: head.shape[0] * states.shape[0]].view(head.shape[0], -1)
            _write_product(logits, head, states.T)
            entropies[chunk], slopes, totals = _entropies_and_slopes(logits, targets[chunk], head.dtype)
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


def _logits_dtype(head: Tensor) -> torch.dtype:
    """Precision of the logits: fp32 as the product sums them where the device gives it, else that of the head.

    bf16 keeps 8 bits of a logit: at a standard deviation of 14, the rounding moves an entropy by 0.08 nats.
    """
    return torch.float32 if head.device.type in GIVES_FP32_PRODUCTS else head.dtype


def _write_product(logits: Tensor, head: Tensor, states: Tensor) -> None:
    """logits = head @ states, without a rounding in between."""
    if logits.dtype == head.dtype:
        torch.mm(head, states, out=logits)
    else:
        torch.mm(head, states, out_dtype=logits.dtype, out=logits)


def _entropies_and_slopes(logits: Tensor, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """From logits [V, n], overwritten: cross-entropies [n], slopes [V, n] times totals in `dtype`, totals [n].

    The slope of an entropy is softmax - onehot = (exp(x) - total * onehot) / total. It is returned times `total`,
    and the caller divides the narrow factor of each product instead: that spares a pass over [V, n]. All is fp32
    but the slopes, which meet the head and the states in products, and have their precision.
    """
    values = logits.float()
    largest = values.amax(dim=0)
    target_values = values.gather(0, targets[None]).squeeze(0) - largest
    shares = values.sub_(largest).exp_()
    totals = shares.sum(dim=0)
    shares.scatter_add_(0, targets[None], -totals[None])
    return totals.log() - target_values, shares.to(dtype), totals


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in fp32 throughout.

    A product of bf16 matrices that is rounded to bf16 before it is added loses what chunks have against each other:
    where their parts cancel to a hundredth, a tenth of the sum is noise. Blocks of rows bound the memory: with 152K
    rows of 4,096 the product as a whole would be 2.5 GB in fp32. The CPU has no such product, and widens the factors.
    """
    if right.dtype == total.dtype:
        total.addmm_(left, right)
        return
    has_wide_product = total.device.type in GIVES_FP32_PRODUCTS
    right = right if has_wide_product else right.to(total.dtype)
    num_rows = max(1, BLOCK_VALUES // total.shape[1])
    for begin in range(0, total.shape[0], num_rows):
        block = slice(begin, begin + num_rows)
        if has_wide_product:
            total[block] += torch.mm(left[block], right, out_dtype=total.dtype)
        else:
            total[block].addmm_(left[block].to(total.dtype), right)


def _chunk_size(head: Tensor) -> int:
    """Positions of a chunk. On the CPU, 152K words: 2**23 / 151,936 = 55, raised to 128."""
    return max(MIN_CHUNK, CHUNK_LOGITS.get(head.device.type, CHUNK_LOGITS["cpu"]) // head.shape[0])
