"""Attention over the ranks that share a row: tokens are exchanged for heads, and back.

Owns the exchange. A rank holds a share of the row's tokens with all their heads. Before attention each rank sends to
each other the heads that are that one's, and has then all tokens of the row with its heads; attention is computed over
the whole row by any backend, and its output goes back the same way. That is the scheme of DeepSpeed-Ulysses
(arXiv 2309.14509). Nothing is summed, so the outputs are those of one rank.

A rank sends (S - 1) / S of its queries, keys, values and outputs, in two all-to-alls a layer: what is exchanged falls
with S, while a gather of keys and values would send the same whatever S is. Gradients take the same way back.

L tokens of the row, l of this rank's share, S ranks, h query heads, g key-value heads, E and D widths of a query or
key and of a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from neo_model.attention.interface import Attend
from neo_model.config import NeoConfig
from neo_model.inputs.batch import Batch
from neo_model.inputs.shares import share_bounds


def why_not_shared(config: NeoConfig, sequence_ranks: int) -> str:
    """Why the heads of a network cannot be dealt to so many ranks; '' if they can.

    Each rank needs as many query heads, of whole key-value heads: 32 and 8 heads go to 2, 4 or 8 ranks, and to 16 or 32
    with each key-value head on 2 or 4 of them.
    """
    num_heads, num_kv_heads = config.num_heads, config.num_kv_heads
    divisors = [n for n in range(1, num_heads + 1) if num_heads % n == 0]
    fits = [n for n in divisors if num_kv_heads % n == 0 or n % num_kv_heads == 0]
    if sequence_ranks in fits:
        return ""
    return (
        f"sequence_ranks = {sequence_ranks}: attention of {num_heads} query heads and {num_kv_heads} key-value heads "
        f"cannot be dealt to {sequence_ranks} ranks alike; it can to {', '.join(map(str, fits))}"
    )


@dataclass(frozen=True, eq=False)
class SequenceGroup:
    """The ranks that share this rank's rows."""

    process_group: dist.ProcessGroup
    share: int
    size: int

    @classmethod
    def of_this_rank(cls, size: int) -> SequenceGroup:
        """Ranks that follow one another, `size` at a time. Collective over all ranks."""
        process_group, _ = dist.new_subgroups(group_size=size)
        return cls(process_group, dist.get_rank() % size, size)

    def across_ranks(self, attend: Attend, batch: Batch) -> Attend:
        """Attention of this rank's tokens, for all heads, by `attend`, which takes whole rows."""
        bounds = share_bounds(batch.row_tokens, self.size)
        lengths = [until - first for first, until in pairwise(bounds)]
        if (batch.first_token, batch.num_tokens) != (bounds[self.share], lengths[self.share]):
            raise ValueError(
                f"rank {self.share} of the {self.size} of a row of {batch.row_tokens} tokens has tokens "
                f"{batch.first_token} to {batch.first_token + batch.num_tokens}, not {bounds[self.share]} to "
                f"{bounds[self.share + 1]}"
            )

        def attend_share(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            heads = self._to_heads(q, *(self._repeated(x) for x in (k, v)), lengths=lengths)
            return self._to_tokens(attend(*heads), lengths)

        return attend_share

    def _repeated(self, x: Tensor) -> Tensor:
        """Keys or values [l, g, width], each head for as many ranks as need it: at least one head for each rank."""
        num_each = self.size // x.shape[1]
        return x.repeat_interleave(num_each, dim=1) if num_each > 1 else x

    def _to_heads(self, *qkv: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
        """Each [l, heads, width] -> [L, heads / S, width]: all tokens, this rank's heads. One exchange for all."""
        for_rank = [x.unflatten(1, (self.size, -1)).flatten(2) for x in qkv]  # [l, S, heads / S * width]
        widths = [x.shape[2] for x in for_rank]
        sent = torch.cat(for_rank, dim=2).transpose(0, 1).flatten(0, 1)
        taken = self._exchange(sent, [lengths[self.share]] * self.size, lengths)
        parts = taken.split(widths, dim=1)
        return tuple(part.unflatten(1, (-1, x.shape[2])) for part, x in zip(parts, qkv, strict=True))

    def _to_tokens(self, out: Tensor, lengths: list[int]) -> Tensor:
        """[L, h / S, D] -> [l, h, D]: this rank's tokens, all heads."""
        mine = lengths[self.share]
        taken = self._exchange(out, lengths, [mine] * self.size)
        by_rank: Tensor = taken.unflatten(0, (self.size, mine))
        return by_rank.transpose(0, 1).flatten(1, 2)

    def _exchange(self, rows: Tensor, num_sent: list[int], num_taken: list[int]) -> Tensor:
        """Send the first `num_sent[0]` rows to the first rank, and so on; returns what came, in order of the ranks."""
        taken: Tensor = _Exchange.apply(rows, num_sent, num_taken, self.process_group)  # type: ignore[no-untyped-call]
        return taken


class _Exchange(torch.autograd.Function):
    """An all-to-all of rows. Its gradient goes to where the rows came from."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, num_sent: list[int], num_taken: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.num_sent, ctx.num_taken, ctx.group = num_sent, num_taken, group
        return _all_to_all(rows, num_sent, num_taken, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _all_to_all(grads[0], ctx.num_taken, ctx.num_sent, ctx.group), None, None, None


def _all_to_all(rows: Tensor, num_sent: list[int], num_taken: list[int], group: dist.ProcessGroup) -> Tensor:
    taken = rows.new_empty((sum(num_taken), *rows.shape[1:]))
    dist.all_to_all_single(taken, rows.contiguous(), num_taken, num_sent, group=group)
    return taken
