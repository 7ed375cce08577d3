"""Small collectives: sums and values of all ranks, and errors that are raised on every rank.

An error on one rank leaves the others waiting in their next collective; here all ranks hear of it and raise together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from stages.contract import StageError

Result = TypeVar("Result")


class SharedError(StageError):
    """Raised on every rank at the same call, so the ranks can still run collectives afterwards."""


@dataclass(frozen=True)
class StepTotals:
    """Counts of an optimizer step: of one rank, or after `summed` of all ranks."""

    weight: float
    """Sum of the loss weights."""
    num_tokens: int
    num_rows: int
    num_failed: int
    """Ranks that could not load their rows."""
    num_stopping: int
    """Ranks that were told to stop the run; only rank 0 is ever told."""
    num_ready: int
    """Ranks that have finished their part of the checkpoint in flight."""
    difference: int = 0
    """0 where the ranks that share rows have loaded the same (`SequencePlace.difference`)."""

    def summed(self, device: str) -> StepTotals:
        """The totals over all ranks: one all-reduce in float64, which is exact for counts below 2**53. Collective."""
        values = torch.tensor(astuple(self), dtype=torch.float64, device=device)
        dist.all_reduce(values)
        weight, *counts = values.tolist()
        return StepTotals(weight, *(round(count) for count in counts))


def set_timeouts(timeout: timedelta) -> None:
    """Let all process groups of this rank, those that a library made as well, wait so long in a collective.

    A group that is made without a timeout has torch's: ten minutes with NCCL, whatever the first group was given.
    """
    for group in list(distributed_c10d._world.pg_map):
        distributed_c10d._set_pg_timeout(timeout, group)


def gather_values(value: Any) -> list[Any]:
    """All-gather: one value from every rank, in rank order. Collective; pickles, so not for every step."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Rows [n, ...] of all ranks end to end, in rank order, and the place of this rank's first one. Collective.

    Ranks may have different numbers of rows, also none: each sends as many as the longest.
    """
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    numbers = [int(count) for count in counts]
    padded = rows.new_zeros(max(*numbers, 1), *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(gathered, padded)
    together = torch.cat([one[:number] for one, number in zip(gathered, numbers, strict=True)])
    return together, sum(numbers[: dist.get_rank()])


def taken_by_rank_0(tokens: list[int], device: str) -> list[int]:
    """The tokens of rank 0 on every rank, of as many on each. Collective.

    Under ZeRO-3 each further token gathers parameters. Ranks that round differently and so disagree on one token would
    continue with other numbers of tokens, and wait for one another forever.
    """
    values = torch.tensor(tokens, dtype=torch.int64, device=device)
    dist.broadcast(values, src=0)
    taken: list[int] = values.tolist()
    return taken


def raise_on_all(message: str) -> None:
    """Raise `SharedError` with the messages of all ranks on every rank; returns if all are empty. Collective."""
    messages = [f"rank {rank}: {text}" for rank, text in enumerate(gather_values(message)) if text]
    if messages:
        raise SharedError("; ".join(messages))


def run_on_all(work: Callable[[], Result], what: str) -> list[Result]:
    """Do `work` on every rank; returns the results in rank order. Collective.

    Where it fails on one rank, all raise: a `StageError` as it is, any other error as a `SharedError` that names the
    rank and `what` failed.
    """
    failure: StageError | None = None
    result: Result | None = None
    try:
        result = work()
    except StageError as error:
        failure = error
    except Exception as error:  # any kind: the other ranks wait in the all-gather and must hear of it
        failure = SharedError(f"rank {dist.get_rank()}: {what}: {type(error).__name__}: {error}")
    gathered: list[tuple[StageError | None, Result]] = gather_values((failure, result))
    for failed, _ in gathered:
        if failed is not None:
            raise failed
    return [each for _, each in gathered]
