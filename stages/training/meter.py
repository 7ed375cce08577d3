"""What people watch while a model trains, averaged over the steps since the last report."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from neo_model.loss import LossSum
from stages.training.agreement import exchange
from stages.training.loader import MicroBatch


class Meter:
    """Numbers of consecutive steps, as one rank gathers them. Until they are read, losses stay on their device."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._seen: list[tuple[MicroBatch, LossSum, float]] = []
        self._num_steps = 0
        self._num_tokens = 0
        self._num_places = 0
        self._imbalance = 0.0
        self._wait_seconds = 0.0

    def waited(self, seconds: float) -> None:
        """The step's rows were waited for so long."""
        self._wait_seconds += seconds

    def saw(self, micro_batch: MicroBatch, sums: LossSum, weight: float) -> None:
        """This rank has computed a micro-batch; `weight` is the sum of the weights of the whole step."""
        if micro_batch.rows:
            self._seen.append((micro_batch.without_pixels(), sums, weight))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done meanwhile is no training, and its time is left out."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def end_step(self, num_tokens: int, num_places: int, imbalance: float) -> None:
        """A step is done: its tokens on all ranks, how many its rows could have held, how unequal the ranks' were."""
        self._num_steps += 1
        self._num_tokens += num_tokens
        self._num_places += num_places
        self._imbalance += imbalance

    def read(self) -> dict[str, float]:
        """The averages since the last reading, and start anew. Collective.

        loss                nats for each unit of loss weight, over all ranks
        loss/<source>       the same over the documents of one source
        tokens_per_second   of all ranks
        fill                tokens of the rows over the tokens they could hold
        data_wait           share of the time in which this rank waited for rows
        imbalance           what the slowest ranks' rows cost above the mean, as a share of it
        """
        loss, by_source = self._losses()
        seconds = max(time.monotonic() - self._began, 1e-9)
        num_steps = max(self._num_steps, 1)
        numbers = {
            "loss": loss / num_steps,
            **{f"loss/{source}": mean for source, mean in by_source.items()},
            "tokens_per_second": self._num_tokens / seconds,
            "seconds_per_step": seconds / num_steps,
            "fill": self._num_tokens / max(self._num_places, 1),
            "data_wait": self._wait_seconds / seconds,
            "imbalance": self._imbalance / num_steps,
        }
        self._start()
        return numbers

    def _losses(self) -> tuple[float, dict[str, float]]:
        """The sum of the losses of all steps, and the mean for each source, over all ranks."""
        mine = sum(float(sums.loss) / weight for _, sums, weight in self._seen)
        sources: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for micro_batch, sums, _ in self._seen:
            add(sources, by_source(micro_batch, sums.entropies))
        loss, totals = 0.0, dict[str, tuple[float, float]]()
        for theirs, their_sources in exchange((mine, dict(sources))):
            loss += theirs
            add(totals, their_sources)
        return loss, {source: total / weight for source, (total, weight) in sorted(totals.items()) if weight > 0}


def by_source(micro_batch: MicroBatch, entropies: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Weighted loss and weight of each source in a micro-batch; entropies [S] at its supervised positions."""
    batch = micro_batch.batch
    names = sorted(set(micro_batch.sources))
    source_of_document = torch.tensor([names.index(source) for source in micro_batch.sources])
    document = torch.searchsorted(batch.documents, batch.supervised_index, right=True) - 1
    weights = batch.weights[batch.supervised_index].double()
    sums = torch.zeros(len(names), 2, dtype=torch.float64)
    values = torch.stack((entropies.cpu().double() * weights, weights), dim=1)
    sums.index_add_(0, source_of_document[document], values)
    return {name: (float(total), float(weight)) for name, (total, weight) in zip(names, sums, strict=True)}


def add(totals: dict[str, tuple[float, float]], more: Mapping[str, tuple[float, float]]) -> None:
    """Add losses and weights, source by source."""
    for source, (total, weight) in more.items():
        before = totals.get(source, (0.0, 0.0))
        totals[source] = before[0] + total, before[1] + weight
