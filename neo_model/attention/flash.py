"""The flash backend: two causal passes over ragged segments, merged by log-sum-exp; no mask exists.

A query sees its past and the later tokens of its own image. In reverse order those later tokens are a past: the
tokens of an image reversed, queries without the first and keys without the last, are plain causal attention. One
causal pass over documents and one over reversed images, merged as ring attention merges its blocks, equal the mixed
mask, in memory linear in the row. In the backward pass each kernel gets the merged output and log-sum-exp, which
turns its local softmax into its share of the whole softmax.

An image of tokens 3 4 5 6: queries 5 4 3, keys 6 5 4. Causally, 5 sees 6; 4 sees 6 5; 3 sees 6 5 4.

Kernels need one width for queries, keys and values: values are padded with zeros from D to E = 2 D.

L tokens, R tokens of images but one each, h query heads, g key-value heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.interface import Attend
from neo_model.attention.segments import Segments
from neo_model.attention.varlen import Attended, VarlenKernel, kernel_for
from neo_model.inputs.batch import Batch


@dataclass(frozen=True, eq=False)
class Passes:
    """The two passes over one row, and the kernel that runs them."""

    kernel: VarlenKernel
    documents: Segments
    images: Segments | None
    """Images of two or more tokens, each without one token; None if the row has none."""
    queries: Tensor
    """[R] query tokens of the second pass: each image reversed, without its last token in the row."""
    keys: Tensor
    """[R] key tokens of the second pass: each image reversed, without its first token in the row."""


def prepare_flash(batch: Batch, device: torch.device) -> Attend:
    """Plan both passes for this row. Raises BackendUnavailableError where no kernel runs."""
    passes = plan_passes(batch, device, kernel_for(device))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = TwoPassAttention.apply(q, k, v, passes)  # type: ignore[no-untyped-call]
        return out

    return attend


def plan_passes(batch: Batch, device: torch.device, kernel: VarlenKernel) -> Passes:
    """Segments of both passes, and the tokens of the second."""
    spans = batch.whole_spans.numpy()
    spans = spans[spans[:, 1] - spans[:, 0] > 1]
    documents = Segments(np.diff(batch.documents.numpy()), device)
    if len(spans) == 0:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        return Passes(kernel, documents, None, none, none)
    queries = np.concatenate([np.arange(end - 2, start - 1, -1) for start, end in spans])
    return Passes(
        kernel=kernel,
        documents=documents,
        images=Segments(spans[:, 1] - spans[:, 0] - 1, device),
        queries=torch.from_numpy(queries).to(device, non_blocking=True),
        keys=torch.from_numpy(queries + 1).to(device, non_blocking=True),
    )


class TwoPassAttention(torch.autograd.Function):
    """(q [L, h, E], k [L, g, E], v [L, g, D], passes) -> [L, h, D]; gradients of q, k and v."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, passes: Passes) -> Tensor:
        width = v.shape[-1]
        scale, padded = width**-0.5, F.pad(v, (0, q.shape[-1] - width))
        out, lse = passes.kernel.forward(q, k, padded, passes.documents, scale)
        if passes.images is not None:
            queries = _rows(q, at=passes.queries)
            keys, values = (_rows(x, at=passes.keys) for x in (k, padded))
            later = passes.kernel.forward(queries, keys, values, passes.images, scale)
            out, lse = _merge(out, lse, *later, at=passes.queries)
        out = out[..., :width].contiguous()
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.passes = passes
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, lse = ctx.saved_tensors
        passes, width = ctx.passes, v.shape[-1]
        scale, padding = width**-0.5, (0, q.shape[-1] - width)
        grad_out, out, v = (F.pad(x, padding) for x in (grads[0], out, v))
        dq, dk, dv = passes.kernel.backward(grad_out, Attended(q, k, v, out, lse), passes.documents, scale)
        if passes.images is not None:
            at, of = passes.queries, passes.keys
            attended = Attended(*(_rows(x, at=rows) for x, rows in ((q, at), (k, of), (v, of), (out, at), (lse, at))))
            later = passes.kernel.backward(_rows(grad_out, at=at), attended, passes.images, scale)
            for total, rows, part in zip((dq, dk, dv), (at, of, of), later, strict=True):
                # Rows are unique: no atomic sums as in `index_add_`, whose order differs from run to run.
                total.index_copy_(0, rows, _rows(total, at=rows) + part)
        return dq, dk, dv[..., :width], None


def _merge(out: Tensor, lse: Tensor, later: Tensor, later_lse: Tensor, *, at: Tensor) -> tuple[Tensor, Tensor]:
    """Merge the second pass into rows `at` of the first, in place: softmax over both sets of keys.

    With lse = log(exp(a) + exp(b)), the merged output is (exp(a) out_a + exp(b) out_b) / exp(lse). Rows are unique.
    """
    earlier, earlier_lse = _rows(out, at=at), _rows(lse, at=at)
    merged_lse = torch.logaddexp(earlier_lse, later_lse)
    share = torch.exp(later_lse - merged_lse).unsqueeze(-1)
    merged = torch.lerp(earlier.float(), later.float(), share)
    return out.index_copy_(0, at, merged.to(out.dtype)), lse.index_copy_(0, at, merged_lse)


def _rows(x: Tensor, *, at: Tensor) -> Tensor:
    return x.index_select(0, at)
