"""The choice of the next token from its logits: greedy, or drawn.

Owns the options of drawing and their order: repetition penalty, temperature, top-k, top-p. Each prompt draws from a
generator of its own, so that its answer does not depend on its neighbours.

B prompts, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    seed: int
    """Of all draws; the number of the prompt is mixed in."""
    temperature: float = 1.0
    """Divides the logits; positive."""
    top_k: int = 0
    """Draw among the k likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that reach this probability together, in (0, 1]."""
    repetition_penalty: float = 1.0
    """Logits of tokens seen in prompt or answer are divided by it where positive, multiplied where negative."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.repetition_penalty <= 0:
            raise ValueError(f"{self}: temperature and repetition_penalty are positive; greedy is no Sampling at all")
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"{self}: top_k is 0 or more, top_p above 0 and at most 1")


class Sampler:
    """Chooses for a batch of prompts, and remembers what each has seen."""

    def __init__(self, sampling: Sampling | None, numbers: Sequence[int], seen: Sequence[Sequence[int]]) -> None:
        """`numbers` tell the prompts apart in the seed; `seen` are their tokens."""
        self._sampling = sampling
        self._seen = [list(tokens) for tokens in seen]
        seed = sampling.seed if sampling else 0
        self._generators = [torch.Generator().manual_seed((seed << 32) + number) for number in numbers]

    def choose(self, logits: Tensor) -> list[int]:
        """The next token of each prompt, from logits [B, V]."""
        if self._sampling is None:
            return logits.argmax(dim=-1).tolist()
        probabilities = self._probabilities(logits.float(), self._sampling)
        draws = torch.tensor([torch.rand((), generator=generator).item() for generator in self._generators])
        cumulative = probabilities.cumsum(dim=-1)
        wanted = draws.to(logits.device)[:, None] * cumulative[:, -1:]
        chosen: list[int] = torch.searchsorted(cumulative, wanted, right=True).squeeze(1).tolist()
        for tokens, token in zip(self._seen, chosen, strict=True):
            tokens.append(token)
        return chosen

    def keep(self, rows: Sequence[int]) -> None:
        """Forget the prompts that are done."""
        self._seen = [self._seen[row] for row in rows]
        self._generators = [self._generators[row] for row in rows]

    def _probabilities(self, logits: Tensor, sampling: Sampling) -> Tensor:
        """[B, V], zero for tokens that may not be drawn."""
        if sampling.repetition_penalty != 1.0:
            for row, tokens in zip(logits, self._seen, strict=True):
                seen = torch.tensor(sorted(set(tokens)), device=logits.device)
                values = row[seen]
                penalty = torch.where(values > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
                row[seen] = values * penalty
        probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if sampling.top_k:
            ranked[:, sampling.top_k :] = 0
        before = ranked.cumsum(dim=-1) - ranked
        ranked = ranked.masked_fill(before >= sampling.top_p * ranked.sum(dim=-1, keepdim=True), 0)
        return torch.zeros_like(ranked).scatter_(1, order, ranked)
