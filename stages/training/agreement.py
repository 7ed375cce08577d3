"""What ranks must know of one another before they act: small values, exchanged by all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from stages.contract import StageError


@dataclass(frozen=True)
class Share:
    """What one rank brings into an optimizer step, and their sum over all ranks."""

    weight: float
    """Sum of the loss weights."""
    num_tokens: int
    num_rows: int
    num_failed: int
    """1 on a rank that could not load its rows."""

    def summed(self, device: str) -> Share:
        """One all-reduce in float64, which holds every count exactly. Collective."""
        fields = (self.weight, self.num_tokens, self.num_rows, self.num_failed)
        values = torch.tensor(fields, dtype=torch.float64, device=device)
        dist.all_reduce(values)
        weight, *counts = values.tolist()
        return Share(weight, *(round(count) for count in counts))


def exchange(value: Any) -> list[Any]:
    """One value from every rank, in rank order, on every rank. Collective; for rare moments."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def raise_together(trouble: str) -> None:
    """Raise `StageError` on every rank with what all of them found; returns if none found anything. Collective."""
    found = [f"rank {rank}: {text}" for rank, text in enumerate(exchange(trouble)) if text]
    if found:
        raise StageError("; ".join(found))
