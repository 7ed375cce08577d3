"""What people watch while a model trains, averaged over the steps since the last report."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist
from torch import Tensor


class Meter:
    """Numbers of consecutive steps, as one rank gathers them."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._losses = torch.zeros((), dtype=torch.float64, device=self._device)
        self._num_steps = 0
        self._num_tokens = 0
        self._num_places = 0
        self._wait_seconds = 0.0

    def waited(self, seconds: float) -> None:
        """The step's rows were waited for so long."""
        self._wait_seconds += seconds

    def add_loss(self, loss: Tensor, weight: float) -> None:
        """This rank's loss sum of one micro-batch, and the weight of the whole step."""
        self._losses += loss.double() / weight

    def end_step(self, num_tokens: int, num_places: int) -> None:
        """A step is done: its tokens on all ranks, and how many its rows could have held."""
        self._num_steps += 1
        self._num_tokens += num_tokens
        self._num_places += num_places

    def read(self) -> dict[str, float]:
        """The averages since the last reading, and start anew. Collective.

        loss                nats for each unit of loss weight, over all ranks
        tokens_per_second   of all ranks
        fill                tokens of the rows over the tokens they could hold
        data_wait           share of the time in which this rank waited for rows
        """
        dist.all_reduce(self._losses)
        seconds = max(time.monotonic() - self._began, 1e-9)
        num_steps = max(self._num_steps, 1)
        numbers = {
            "loss": float(self._losses) / num_steps,
            "tokens_per_second": self._num_tokens / seconds,
            "seconds_per_step": seconds / num_steps,
            "fill": self._num_tokens / max(self._num_places, 1),
            "data_wait": self._wait_seconds / seconds,
        }
        self._start()
        return numbers
