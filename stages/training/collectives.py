"""What ranks must know of one another before they act: small values, exchanged by all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from stages.contract import StageError

Result = TypeVar("Result")


class SharedError(StageError):
    """Raised on every rank at the same place: afterwards they can still do things together."""


@dataclass(frozen=True)
class Share:
    """What one rank brings into an optimizer step, and their sum over all ranks."""

    weight: float
    """Sum of the loss weights."""
    num_tokens: int
    num_rows: int
    num_failed: int
    """1 on a rank that could not load its rows."""
    num_stopping: int
    """1 on a rank that was told that the run is to stop."""
    num_ready: int
    """1 on a rank that waits for nothing of its own in the checkpoint under way."""

    def summed(self, device: str) -> Share:
        """One all-reduce in float64, which holds every count exactly. Collective."""
        values = torch.tensor(astuple(self), dtype=torch.float64, device=device)
        dist.all_reduce(values)
        weight, *counts = values.tolist()
        return Share(weight, *(round(count) for count in counts))


def exchange(value: Any) -> list[Any]:
    """One value from every rank, in rank order, on every rank. Collective; for rare moments."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def raise_together(trouble: str) -> None:
    """Raise `SharedError` on every rank with what all of them found; returns if none found anything. Collective."""
    found = [f"rank {rank}: {text}" for rank, text in enumerate(exchange(trouble)) if text]
    if found:
        raise SharedError("; ".join(found))


def results_of_all(work: Callable[[], Result], what: str) -> list[Result]:
    """Do `work` on every rank; what it returns on each, in rank order. Collective.

    Where it fails on any, all raise: an error that a stage has named as it is, another as `SharedError`: what could
    not be done, where, and why.
    """
    failure: StageError | None = None
    result: Result | None = None
    try:
        result = work()
    except StageError as error:
        failure = error
    except Exception as error:  # of any kind: the other ranks wait for this one and must learn of it
        failure = SharedError(f"rank {dist.get_rank()}: {what}: {type(error).__name__}: {error}")
    gathered: list[tuple[StageError | None, Result]] = exchange((failure, result))
    for failed, _ in gathered:
        if failed is not None:
            raise failed
    return [each for _, each in gathered]
