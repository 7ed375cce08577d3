"""One optimizer step of one rank: gradients of all its micro-batches, then the update.

Owns the random seed of a step and the refusal of a loss or gradient that is not finite.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch

from neo_model.loss import LossSum
from stages.contract import Rank, StageError
from stages.training.collectives import StepTotals, gather_values, raise_on_all
from stages.training.engine.engine import Engine
from stages.training.loading.micro_batches import MicroBatch
from stages.training.metrics import Meter
from stages.training.objectives.pair_contrast import PairContrast
from stages.training.recipe import TrainRecipe, learning_rate


def optimizer_step(
    step: int,
    engine: Engine,
    micro_batches: Sequence[MicroBatch],
    totals: StepTotals,
    *,
    rank: Rank,
    recipe: TrainRecipe,
    meter: Meter,
) -> float:
    """Apply one optimizer step; returns the gradient norm before clipping. Collective.

    Without a supervised token on any rank nothing is applied and the norm is 0. Raises `StageError` on every rank where
    the norm is not finite; the parameters are unchanged then.
    """
    torch.manual_seed(_seed_of_step(recipe.seed, step, rank.rank))
    if totals.weight <= 0:
        return 0.0
    contrast = PairContrast.of(recipe, engine, meter)
    slopes = [None] * len(micro_batches) if contrast is None else contrast.slopes(micro_batches)
    sums = []
    for micro_batch, slope in zip(micro_batches, slopes, strict=True):
        # DeepSpeed divides by the ranks, so 2 ranks with weights 30 and 10 scale by 2 / 40: each token counts alike.
        sums.append(engine.accumulate(micro_batch.batch, rank.world_size / totals.weight, slope))
        meter.saw(micro_batch, sums[-1], totals.weight)
    norm = engine.apply(learning_rate(step, recipe))
    if not math.isfinite(norm):
        _raise_not_finite(step, norm, micro_batches, sums, rank)
    return norm


def _raise_not_finite(
    step: int, norm: float, micro_batches: Sequence[MicroBatch], sums: Sequence[LossSum], rank: Rank
) -> None:
    """Name the micro-batches whose loss is not finite, or all where only the gradient is not. Collective."""
    suspects = [one for one, loss_sum in zip(micro_batches, sums, strict=True) if not loss_sum.loss.isfinite()]
    what = "loss" if sum(gather_values(len(suspects))) else "gradient"
    named = suspects if what == "loss" else [one for one in micro_batches if one.rows]
    rows = ", ".join(f"row {row}" for one in named for row in one.rows)
    samples = ", ".join(sample_id for one in named for sample_id in one.sample_ids)
    raise_on_all(
        f"step {step + 1}: the {what} is not finite (gradient norm {norm}) in {rows}, samples {samples}; "
        "the step was not applied, the last committed checkpoint stands. Where it fails so again, its data are the "
        f'cause: neo skip {rank.artifact} --step {step + 1} --reason "..." leaves it out, on record'
        if named
        else ""
    )
    raise StageError(f"step {step + 1}: gradient norm {norm} without a suspect")


def _seed_of_step(seed: int, step: int, rank: int) -> int:
    """Seed of torch's generators for a step on one rank, 63 bits: no generator state needs to be saved."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8]) >> 1
