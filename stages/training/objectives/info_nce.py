"""The symmetric InfoNCE loss of a step's pairs and its gradient, by blocks, over all ranks.

Owns the arithmetic (van den Oord et al. 2018, eq. 4; both ways as in CLIP, Radford et al. 2021). With u and v the
pictures' and captions' pooled states of length 1, s = u v^T / temperature, and P pairs in the step:

    loss = 1 / 2P  sum over i of  (log sum over j of exp s_ij) + (log sum over j of exp s_ji) - 2 s_ii

A caption of the same picture, or a picture with the same caption, is no negative: its s_ij is left out of both sums.
The gradient is written out, so that no graph crosses ranks: of its own pictures a rank needs all captions and the two
log-sums of all pairs, and sums over ranks give that of one rank, to rounding.

P pairs of the step, p of this rank, H hidden width. Memory: 2 P H values, and blocks of at most `BLOCK_SCORES` scores;
operations of a rank: 12 p P H, six products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK_SCORES: Final = 2**24
"""Similarities that are held at once: 64 MiB in fp32."""


@dataclass(frozen=True)
class Contrast:
    """The loss of a step, the same on every rank, and the gradient for this rank's pooled states."""

    loss: Tensor
    """Scalar: mean over the pairs of the step, in nats; 0 where there are fewer than two."""
    gradient: Tensor
    """[2p, H] derivative of the loss by this rank's pooled states."""
    num_pairs: int
    """Pairs P of the step."""


def contrast(
    pooled: Tensor, digests: Tensor, temperature: float, gather: Callable[[Tensor], tuple[Tensor, int]]
) -> Contrast:
    """The loss of this rank's pooled states [2p, H], pictures before captions, among those of all ranks. Collective.

    `digests` [p, 2] are those of pictures and captions. `gather` puts rows of all ranks end to end, and says where
    those of this rank begin.
    """
    num_own = len(digests)
    with torch.enable_grad():
        raw = pooled.detach().requires_grad_()
        own = F.normalize(raw, dim=1)
    sides = torch.cat((own[:num_own], own[num_own:]), dim=1).detach()  # one gather for both
    everyone, first = gather(sides)
    known, _ = gather(digests)
    num_pairs = len(known)
    pictures, captions = everyone.chunk(2, dim=1)
    side = _Side(pictures, captions, known, temperature, slice(first, first + num_own))
    other = _Side(side.candidates, side.queries, known, temperature, side.own)
    same = (side.queries[side.own] * side.candidates[side.own]).sum(1) / temperature
    sums, _ = gather(torch.stack((side.log_sums(), other.log_sums(), same), dim=1))
    of_pictures, of_captions, together = sums.unbind(1)
    loss = (of_pictures + of_captions - 2 * together).sum() / (2 * max(num_pairs, 1))
    slopes = torch.cat((side.slopes(of_pictures, of_captions), other.slopes(of_captions, of_pictures)))
    scaled = slopes / (2 * max(num_pairs, 1) * temperature)
    (gradient,) = torch.autograd.grad(own, raw, scaled)
    return Contrast(loss, gradient, num_pairs)


@dataclass(frozen=True)
class _Side:
    """This rank's queries among the candidates of all ranks: its pictures among captions, or the other way round."""

    queries: Tensor
    """[P, H] of length 1."""
    candidates: Tensor
    """[P, H] of length 1; that of the same number belongs to the query."""
    digests: Tensor
    """[P, 2] digests of pictures and captions."""
    temperature: float
    own: slice
    """Those of this rank."""

    def log_sums(self) -> Tensor:
        """[p] logarithm of the sum over candidates of exp(score)."""
        found = [scores.logsumexp(1) for _, scores in self._blocks()]
        return torch.cat(found) if found else self.queries.new_zeros(0)

    def slopes(self, log_sums: Tensor, others: Tensor) -> Tensor:
        """[p, H] derivative by the queries, times 2P x temperature. `log_sums` are those of all queries, `others`
        those of all candidates."""
        found = []
        for rows, scores in self._blocks():
            shares = (scores - log_sums[rows, None]).exp_() + (scores - others[None]).exp_()
            found.append(shares @ self.candidates - 2 * self.candidates[rows])
        return torch.cat(found) if found else self.queries.new_zeros(0, self.queries.shape[1])

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of this rank and their scores [b, P]; -inf for what is neither the pair's own nor a negative."""
        size = max(1, BLOCK_SCORES // max(len(self.queries), 1))
        for start in range(self.own.start, self.own.stop, size):
            rows = slice(start, min(start + size, self.own.stop))
            scores = self.queries[rows] @ self.candidates.T / self.temperature
            alike = (self.digests[rows, None] == self.digests[None]).any(2)
            places = torch.arange(rows.start, rows.stop, device=scores.device)
            alike[places - rows.start, places] = False
            yield rows, scores.masked_fill_(alike, -torch.inf)
