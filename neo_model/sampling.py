"""The choice of the next token from its logits: greedy, or sampled.

Owns the sampling options and their sequence: repetition penalty, temperature, top-k, top-p. Each prompt has its own
random generator, so its answer does not depend on the other prompts of a batch.

B prompts, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import torch
from torch import Tensor

MIN_TEMPERATURE: Final = 1e-3
"""Least temperature: at lower ones quotients leave the range of float32, and a draw is the likeliest token anyway."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Options of sampling."""

    seed: int
    """Seed of all draws; the index of the prompt is mixed in."""
    temperature: float = 1.0
    """Divisor of the logits, from MIN_TEMPERATURE on."""
    top_k: int = 0
    """Number of likeliest tokens to draw from; 0 for all."""
    top_p: float = 1.0
    """Total probability of the likeliest tokens to draw from, in (0, 1]."""
    repetition_penalty: float = 1.0
    """Divisor of positive and factor of negative logits of tokens in prompt or answer."""

    def __post_init__(self) -> None:
        if not self.temperature >= MIN_TEMPERATURE or not self.repetition_penalty > 0:
            raise ValueError(
                f"{self}: temperature must be at least {MIN_TEMPERATURE:g} and repetition_penalty positive; for greedy "
                "decoding pass no Sampling"
            )
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"{self}: top_k must be 0 or more, top_p above 0 and at most 1")


class Sampler:
    """Chooses the next tokens of a batch of prompts, and remembers the tokens of each."""

    def __init__(self, sampling: Sampling | None, numbers: Sequence[int], seen: Sequence[Sequence[int]]) -> None:
        """`numbers` are the indexes of the prompts, for their seeds; `seen` are their tokens."""
        self._sampling = sampling
        self._seen = [list(tokens) for tokens in seen]
        seed = sampling.seed if sampling else 0
        self._generators = [torch.Generator().manual_seed(_mixed(seed, number)) for number in numbers]

    def choose(self, logits: Tensor) -> list[int]:
        """The next token of each prompt, from logits [B, V]."""
        if self._sampling is None:
            return logits.argmax(dim=-1).tolist()
        probabilities = self._probabilities(logits.float(), self._sampling)
        # Inverse transform sampling: the first token whose cumulative probability exceeds the draw.
        draws = torch.tensor([torch.rand((), generator=generator).item() for generator in self._generators])
        cumulative = probabilities.cumsum(dim=-1)
        thresholds = draws.to(logits.device)[:, None] * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, thresholds, right=True)
        # A draw just below 1 may be rounded to the total, which no token exceeds: the last one that may be drawn is it.
        last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous()).clamp(max=logits.shape[-1] - 1)
        chosen: list[int] = torch.minimum(drawn, last).squeeze(1).tolist()
        for tokens, token in zip(self._seen, chosen, strict=True):
            tokens.append(token)
        return chosen

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows of the batch; the other prompts are finished."""
        self._seen = [self._seen[row] for row in rows]
        self._generators = [self._generators[row] for row in rows]

    def _probabilities(self, logits: Tensor, sampling: Sampling) -> Tensor:
        """[B, V], zero for tokens that may not be drawn."""
        if sampling.repetition_penalty != 1.0:
            for row, tokens in zip(logits, self._seen, strict=True):
                seen = torch.tensor(sorted(set(tokens)), dtype=torch.int64, device=logits.device)
                values = row[seen]
                penalty = torch.where(values > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
                row[seen] = values * penalty
        below = logits - logits.amax(dim=-1, keepdim=True)  # first, so that no quotient is infinite but the unlikely
        probabilities = torch.softmax(below / sampling.temperature, dim=-1)
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if sampling.top_k:
            ranked[:, sampling.top_k :] = 0
        # A token is kept if the tokens before it have not reached top_p: .6 .3 .1 at top_p .65 keeps two.
        before = ranked.cumsum(dim=-1) - ranked
        ranked = ranked.masked_fill(before >= sampling.top_p * ranked.sum(dim=-1, keepdim=True), 0)
        return torch.zeros_like(ranked).scatter_(1, order, ranked)


def _mixed(seed: int, number: int) -> int:
    """One seed of 32 bits from a seed and the number of a prompt: torch's CPU generator reads no more of one."""
    return int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:4])
