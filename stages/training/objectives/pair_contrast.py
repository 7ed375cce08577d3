"""The contrastive loss of a training step: which pooled states are compared, and how their gradient reaches the model.

Owns the order of passes. Negatives are all pairs of the step, over ranks and micro-batches, while a backward pass knows
one micro-batch. So pooled states come first, without gradient, for all micro-batches (one forward pass more, without
the head; Gao et al. 2021 call it a gradient cache); then the loss gives the slope of each state, and the ordinary
passes of the step follow it. With one micro-batch a rank the ordinary pass has all pooled states at once, and nothing
is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from stages.training.collectives import gather_rows
from stages.training.engine.engine import Engine
from stages.training.loading.micro_batches import MicroBatch
from stages.training.metrics import Meter
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.objectives.info_nce import contrast
from stages.training.recipe import TrainRecipe


@dataclass(frozen=True)
class PairContrast:
    """Adds the contrastive loss to the steps of one rank."""

    engine: Engine
    meter: Meter
    weight: float
    """Factor of the loss."""
    temperature: float

    @classmethod
    def of(cls, recipe: TrainRecipe, engine: Engine, meter: Meter) -> PairContrast | None:
        """What `recipe` asks for; None where it learns the next token alone."""
        if not isinstance(recipe, ObjectivesRecipe) or not recipe.compares_pairs:
            return None
        return cls(engine, meter, recipe.contrastive_weight, recipe.contrastive_temperature)

    def slopes(self, micro_batches: Sequence[MicroBatch]) -> list[Callable[[Tensor], Tensor]]:
        """For each micro-batch the function from its pooled states to the gradient by them. Collective.

        As DeepSpeed averages gradients over ranks, it is that of ranks x weight x loss.
        """
        digests = [one.batch.pairs.digests for one in micro_batches if one.batch.pairs is not None]
        assert len(digests) == len(micro_batches), "pairs are known in each micro-batch of such a training"
        if len(micro_batches) == 1:
            return [lambda pooled: self._gradient([pooled], digests)[0]]
        pooled = [self.engine.pool(one.batch) for one in micro_batches]
        return [_given(gradient) for gradient in self._gradient(pooled, digests)]

    def _gradient(self, pooled: Sequence[Tensor], digests: Sequence[Tensor]) -> list[Tensor]:
        """The gradients by the pooled states of the micro-batches, each [2q, H]."""
        sizes = [len(one) for one in digests]
        pictures, captions = zip(*(one.chunk(2) for one in pooled), strict=True)
        device = pooled[0].device
        found = contrast(
            torch.cat((*pictures, *captions)), torch.cat(list(digests)).to(device), self.temperature, gather_rows
        )
        self.meter.contrasted(found.loss, found.num_pairs)
        scaled = found.gradient * (self.weight * dist.get_world_size())
        of_pictures, of_captions = (side.split(sizes) for side in scaled.chunk(2))
        return [torch.cat(both) for both in zip(of_pictures, of_captions, strict=True)]


def _given(gradient: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: gradient
