"""The training loop: optimizer steps from the last committed checkpoint to the finished model.

Owns the order of things within a step and between steps. A step is a function of its number: its rows, learning rate
and random numbers are computed from it, so a resumed run ends as one that was never killed.

The loss of a step is the sum of weighted losses over the sum of weights, over all ranks and micro-batches: each rank
scales its sums by ranks / weights, and DeepSpeed averages gradients over ranks.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch

from neo_model.attention.interface import Backend
from neo_model.loss import LossSum
from neo_model.model import NeoModel
from stages.artifacts.kinds import Rows
from stages.contract import InterruptedRunError, Rank, StageError
from stages.training.checkpoints.checkpoint import Checkpoints, WriteModel
from stages.training.checkpoints.in_flight import Committing
from stages.training.checkpoints.probe import Probe
from stages.training.checkpoints.rollback import newest
from stages.training.collectives import Share, SharedError, exchange, raise_together
from stages.training.damaged_rows import Mending
from stages.training.engine.engine import Engine
from stages.training.loading.micro_batches import MicroBatch, StepLoader
from stages.training.loading.prefetch import prefetch
from stages.training.metrics import Meter, PeakFlops
from stages.training.recipe import TrainRecipe, learning_rate
from stages.training.watchdog import Watchdog
from stages.training.weight_digests import weight_digests

REPORT_EVERY_STEPS: Final = 10
AfterStep: TypeAlias = Callable[[int, Engine], Mapping[str, Any]]
"""Called on every rank with the number of steps done and the engine, before the step's checkpoint is taken; returns
what its record is to say."""


def train(
    rank: Rank,
    recipe: TrainRecipe,
    rows: Sequence[Rows],
    model: NeoModel,
    write_model: WriteModel,
    *,
    after_step: AfterStep = lambda _num_done, _engine: {},
) -> None:
    """Train the parameters of `model` that ask for a gradient, and commit the result with `write_model`.

    Resumes from the last committed checkpoint; if that is the finished model, nothing is left to do. Raises
    `InterruptedRunError` after a commit where the run was asked to stop, `StageError` where a loss or gradient is not
    finite, before that step is applied.
    """
    latest = newest(rank)
    if latest is not None and latest.facts["step"] == recipe.num_steps:
        return
    model.backend = Backend(rank.layout.attention)
    model.activation_checkpointing = rank.layout.activation_checkpointing
    mending = Mending(rank, recipe.on_damaged_row, rows)
    loader = StepLoader.of(recipe, rows, rank, model.config, mending.left_out())
    trainable = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    engine = Engine(model, recipe, rank.layout, loader.split.num_micro_batches, rank.device)
    before = weight_digests(engine.parameters(), trainable)
    num_micro_batches, num_workers = loader.split.num_micro_batches, rank.layout.num_loader_workers
    with Committing(rank.rank) as committing:
        checkpoints = Checkpoints(rank, recipe, engine, rows, before, Probe(engine, loader, mending), committing)
        steps = range(checkpoints.restore(), recipe.num_steps)
        reading = prefetch(loader, steps, num_micro_batches, num_workers, rank.warn)
        with reading as loaded, Watchdog(rank) as watchdog:
            loop = Loop(
                rank, recipe, engine, loader, loaded, mending, committing, Meter(PeakFlops.of(model, rank.device))
            )
            try:
                found = _take_all(loop, steps, checkpoints, watchdog, after_step)
            except SharedError:
                committing.finish()  # what was complete before stands, all the same
                raise
        after = weight_digests(engine.parameters(), trainable)
        config = model.config.with_pixels(**loader.packed[-1].pixel_range)
        checkpoints.commit_model(recipe.num_steps, write_model, config, {**before.compare(after), **found})


def _take_all(
    loop: Loop, steps: Iterable[int], checkpoints: Checkpoints, watchdog: Watchdog, after_step: AfterStep
) -> Mapping[str, Any]:
    """All steps but for the commit after the last; returns what was found out after that."""
    recipe, found = loop.recipe, dict[str, Any]()
    for step in steps:
        watchdog.alive()
        stop = loop.take(step)
        num_done = step + 1
        with loop.meter.pause():
            found = dict(after_step(num_done, loop.engine))
        if num_done == recipe.num_steps:
            break
        if stop or num_done % recipe.checkpoint_every_steps == 0:
            checkpoints.begin(num_done, found)
        if stop:
            loop.committing.finish()
            raise InterruptedRunError(
                f"training stopped after step {num_done} of {recipe.num_steps}, as asked, and committed it; "
                "run again to go on"
            )
    return found


@dataclass
class Loop:
    """The optimizer steps of one rank."""

    rank: Rank
    recipe: TrainRecipe
    engine: Engine
    loader: StepLoader
    loaded: Iterator[list[MicroBatch]]
    mending: Mending
    committing: Committing
    meter: Meter

    def take(self, step: int) -> bool:
        """Do one optimizer step; returns whether the run was asked to stop after it."""
        micro_batches, share = self._loaded_by_all(step)
        torch.manual_seed(_seed_of_step(self.recipe.seed, step, self.rank.rank))
        norm = self._apply(step, micro_batches, share.weight) if share.weight > 0 else 0.0
        num_places = share.num_rows * self.loader.row_tokens(step)
        self.meter.end_step(share.num_tokens, num_places, micro_batches[0].imbalance)
        num_done = step + 1
        if num_done % REPORT_EVERY_STEPS == 0 or num_done == self.recipe.num_steps:
            self._report(step, norm)
        return share.num_stopping > 0

    def _loaded_by_all(self, step: int) -> tuple[list[MicroBatch], Share]:
        """This rank's micro-batches and what all ranks bring; raises on all of them where one could not load."""
        micro_batches: list[MicroBatch] = []
        while True:
            error = None
            try:
                # What this rank has loaded survives another rank's failure: it is kept while that one tries again,
                # since the prefetcher has already moved to the next step.
                micro_batches = micro_batches or self._next()
            except Exception as caught:  # of any kind: the other ranks wait for this one and must learn of it
                error = caught
            share = Share(
                weight=sum(micro_batch.weight for micro_batch in micro_batches),
                num_tokens=sum(micro_batch.num_tokens for micro_batch in micro_batches),
                num_rows=sum(len(micro_batch.rows) for micro_batch in micro_batches),
                num_failed=int(error is not None),
                num_stopping=int(self.rank.should_stop()),  # only rank 0 is told; the sum tells all ranks
                num_ready=int(self.committing.is_ready),
            ).summed(self.rank.device)
            if share.num_ready == self.rank.world_size:
                self.committing.go_on()
            if not share.num_failed:
                if not share.num_rows:
                    raise SharedError(
                        f"step {step + 1}: all of its rows are damaged; look at the store that holds them"
                    )
                return micro_batches, share
            self.mending.mend(f"step {step + 1} could not be loaded", error)

    def _next(self) -> list[MicroBatch]:
        began = time.monotonic()
        try:
            micro_batches = next(self.loaded)
        finally:
            self.meter.waited(time.monotonic() - began)
        self.mending.record_skipped(micro_batches)
        return micro_batches

    def _apply(self, step: int, micro_batches: Sequence[MicroBatch], weight: float) -> float:
        """Gradients of all micro-batches, then the update; returns the gradient norm before clipping."""
        sums = []
        for micro_batch in micro_batches:
            sums.append(self.engine.accumulate(micro_batch.batch, self.rank.world_size / weight))
            self.meter.saw(micro_batch, sums[-1], weight)
        norm = self.engine.apply(learning_rate(step, self.recipe))
        if not math.isfinite(norm):
            _raise_not_finite(step, norm, micro_batches, sums)
        return norm

    def _report(self, step: int, norm: float) -> None:
        numbers = {
            **self.meter.read(),
            "gradient_norm": norm,
            "learning_rate": learning_rate(step, self.recipe),
        }
        if self.rank.rank == 0:
            self.rank.report(numbers, at_step=step + 1)


def _raise_not_finite(step: int, norm: float, micro_batches: Sequence[MicroBatch], sums: Sequence[LossSum]) -> None:
    """Name the micro-batches whose loss is not finite, or all where only the gradient is not. Collective."""
    suspects = [one for one, found in zip(micro_batches, sums, strict=True) if not found.loss.isfinite()]
    what = "loss" if sum(exchange(len(suspects))) else "gradient"
    named = suspects if what == "loss" else micro_batches
    rows = ", ".join(f"row {row}" for one in named for row in one.rows)
    samples = ", ".join(sample_id for one in named for sample_id in one.sample_ids)
    raise_together(
        f"step {step + 1}: the {what} is not finite (gradient norm {norm}) in {rows}, samples {samples}; "
        "the step was not applied, the last committed checkpoint stands"
        if named
        else ""
    )
    raise StageError(f"step {step + 1}: gradient norm {norm} without a suspect")


def _seed_of_step(seed: int, step: int, rank: int) -> int:
    """What torch's generators start a step from, on one rank: nothing random needs to be saved."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8]) >> 1
