"""Training metrics, averaged over the steps since the last report: loss, tokens/s, MFU, data wait, memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from resource import RUSAGE_SELF, getrusage
from typing import Final

import torch
import torch.distributed as dist

from neo_model.config import NeoConfig
from neo_model.costs.flops import Trained, Work, training_flops, visible_pairs
from neo_model.costs.gpus import gpu_named
from neo_model.costs.trained import trained_of
from neo_model.inputs.batch import Batch
from neo_model.loss import LossSum
from neo_model.model import NeoModel
from stages.training.collectives import gather_values
from stages.training.loading.micro_batches import MicroBatch

KIB: Final = 1024
"""Bytes in one unit of `ru_maxrss` on Linux."""


@dataclass(frozen=True)
class PeakFlops:
    """Peak FLOP/s of a device, and FLOPs of a micro-batch, for MFU (model FLOPs utilisation)."""

    flops_per_second: float
    """Peak of one device in bf16."""
    config: NeoConfig
    trained: Trained
    """How much of the model trains."""

    @classmethod
    def of(cls, model: NeoModel, device: str) -> PeakFlops | None:
        """The peak of a model's device; None on a CPU, and on a GPU that `neo_model/costs/gpus.py` does not list."""
        if not device.startswith("cuda"):
            return None
        gpu = gpu_named(torch.cuda.get_device_name(device))
        return None if gpu is None else cls(gpu.bf16_flops, model.config, trained_of(model))

    def flops(self, batch: Batch) -> float:
        """FLOPs of forward and backward, without what activation checkpointing recomputes."""
        whole = batch.whole_spans.diff(dim=1).flatten().tolist()
        num_pairs = visible_pairs(batch.documents.diff().tolist(), whole)
        work = Work(
            num_tokens=batch.num_tokens,
            num_pairs=round(num_pairs * batch.num_tokens / batch.row_tokens),  # of a share: by its part of the heads
            num_patches=batch.patches.shape[0],
            num_supervised=batch.supervised_index.shape[0],
        )
        return training_flops(self.config, work, self.trained)


class Meter:
    """Metrics of consecutive steps, gathered by one rank. Losses stay on their device until `read`."""

    def __init__(self, peak: PeakFlops | None = None) -> None:
        """`peak` adds `mfu` to the metrics."""
        self._peak = peak
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._seen: list[tuple[MicroBatch, LossSum, float]] = []
        self._num_steps = 0
        self._num_tokens = 0
        self._capacity_tokens = 0
        self._imbalance = 0.0
        self._wait_seconds = 0.0
        self._flops = 0.0
        self._contrasts: list[tuple[torch.Tensor, int]] = []

    def contrasted(self, loss: torch.Tensor, num_pairs: int) -> None:
        """Add the contrastive loss of a step and how many pairs it compared, which are alike on all ranks."""
        self._contrasts.append((loss, num_pairs))

    def waited(self, seconds: float) -> None:
        """Add the time that this rank waited for the rows of a step."""
        self._wait_seconds += seconds

    def saw(self, micro_batch: MicroBatch, sums: LossSum, weight: float) -> None:
        """Add a micro-batch that this rank computed; `weight` is the sum of the loss weights of the whole step."""
        if micro_batch.rows:
            self._flops += 0.0 if self._peak is None else self._peak.flops(micro_batch.batch)
            self._seen.append((micro_batch.without_pixels(), sums, weight))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time inside out of the metrics: it is no training."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def end_step(self, num_tokens: int, capacity_tokens: int, imbalance: float) -> None:
        """Close a step: its tokens on all ranks, the tokens that its rows could hold, the imbalance of the ranks."""
        self._num_steps += 1
        self._num_tokens += num_tokens
        self._capacity_tokens += capacity_tokens
        self._imbalance += imbalance

    def read(self) -> dict[str, float]:
        """The averages since the last call; starts the next period. Collective.

        loss                nats for each unit of loss weight, over all ranks; of masked tokens too
        loss/<source>       the same over the documents of one source
        tokens_per_second   of all ranks
        fill                tokens of the rows over the tokens they could hold
        data_wait           share of the time in which this rank waited for rows
        imbalance           cost of the slowest rank above the mean, as a share of the mean
        memory_bytes        largest peak of any rank: of its GPU since the last call, on a CPU of the process so far
        contrastive_loss    nats, mean over the pairs of a step; absent where pairs are not compared
        pairs_per_step      pairs that are compared with each other
        mfu                 model FLOPs as a share of the GPUs' peak; absent where the peak is not known
        """
        loss, by_source, flops, memory_bytes = self._of_all_ranks()
        seconds = max(time.monotonic() - self._began, 1e-9)
        num_steps = max(self._num_steps, 1)
        numbers = {
            "loss": loss / num_steps,
            **{f"loss/{source}": mean for source, mean in by_source.items()},
            "tokens_per_second": self._num_tokens / seconds,
            "seconds_per_step": seconds / num_steps,
            "fill": self._num_tokens / max(self._capacity_tokens, 1),
            "data_wait": self._wait_seconds / seconds,
            "imbalance": self._imbalance / num_steps,
            "memory_bytes": memory_bytes,
        }
        if self._contrasts:
            numbers["contrastive_loss"] = sum(float(loss) for loss, _ in self._contrasts) / len(self._contrasts)
            numbers["pairs_per_step"] = sum(number for _, number in self._contrasts) / len(self._contrasts)
        if self._peak is not None:
            numbers["mfu"] = flops / seconds / (self._peak.flops_per_second * dist.get_world_size())
        self._start()
        return numbers

    def _of_all_ranks(self) -> tuple[float, dict[str, float], float, float]:
        """Over all ranks: sum of the steps' losses, mean loss by source, FLOPs, and largest memory in bytes."""
        mine = sum(float(sums.loss) / weight for _, sums, weight in self._seen)
        sources: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for micro_batch, sums, _ in self._seen:
            add(sources, losses_by_source(micro_batch, sums.entropies))
        loss, flops, memory_bytes, totals = 0.0, 0.0, 0.0, dict[str, tuple[float, float]]()
        for theirs, their_sources, their_flops, their_bytes in gather_values(
            (mine, dict(sources), self._flops, _peak_memory_bytes())
        ):
            loss, flops, memory_bytes = loss + theirs, flops + their_flops, max(memory_bytes, their_bytes)
            add(totals, their_sources)
        by_source = {source: total / weight for source, (total, weight) in sorted(totals.items()) if weight > 0}
        return loss, by_source, flops, memory_bytes


def _peak_memory_bytes() -> float:
    """Peak memory of this rank: of its GPU since the last call, or without one of its process since it began."""
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return float(peak)
    return float(getrusage(RUSAGE_SELF).ru_maxrss * KIB)


def losses_by_source(micro_batch: MicroBatch, entropies: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Weighted loss and weight of each source in a micro-batch; entropies [S] at its supervised positions."""
    batch = micro_batch.batch
    names = sorted(set(micro_batch.sources))
    source_of_document = torch.tensor([names.index(source) for source in micro_batch.sources])
    document = torch.searchsorted(batch.documents, batch.supervised_index + batch.first_token, right=True) - 1
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
