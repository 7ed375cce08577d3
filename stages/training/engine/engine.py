"""One rank's share of the network and its optimizer: DeepSpeed behind a few calls.

Owns forward, backward and update under ZeRO 0 to 3 over all ranks, whether they share rows or not, saving and loading
of the rank's share, and the gathering of whole parameters. What is trained on, in which order and at which learning
rate is the loop's.

All calls are collective: every rank makes the same ones in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from neo_model.inputs.batch import Batch
from neo_model.inputs.padding import pad_to_grid
from neo_model.layer import Layer
from neo_model.loss import LossSum
from neo_model.model import NeoModel
from stages.contract import GangLayout
from stages.training.collectives import set_timeouts
from stages.training.engine.deepspeed_config import deepspeed_config, prepare_surroundings
from stages.training.engine.device_copies import DeviceCopies
from stages.training.engine.execution import DTYPES
from stages.training.engine.files import write_shard
from stages.training.engine.sequence_group import SequenceGroup
from stages.training.engine.snapshot import Snapshot
from stages.training.engine.weight_average import Fill, MovingAverage, take_average, take_mean
from stages.training.engine.zero_slices import ParameterSlice, parameter_slices, publish
from stages.training.recipe import TrainRecipe
from stages.training.trained_parts import factors_of_parameters

FACTOR: Final = "learning_rate_factor"
"""Key of a group of parameters under which the factor of its learning rate stands."""


@dataclass(frozen=True)
class State:
    """What one rank held at a step, in host memory."""

    rank: int
    held: Sequence[ParameterSlice]

    def write(self, folder: Path) -> None:
        """Write this rank's file of a checkpoint. From any thread."""
        write_shard(folder, self.rank, self.held)


Result = TypeVar("Result")


class Engine:
    """A network in training. Parameters that ask for no gradient are kept out of the optimizer."""

    def __init__(
        self, model: NeoModel, recipe: TrainRecipe, layout: GangLayout, num_micro_batches: int, device: str
    ) -> None:
        """`num_micro_batches` calls of `accumulate` make one `apply`."""
        config = deepspeed_config(recipe, layout, num_micro_batches, device)
        prepare_surroundings(device)
        import deepspeed
        from deepspeed.utils import set_z3_leaf_modules

        self.num_applied = 0
        """Updates since the first, those before a restored checkpoint included."""
        self._names = [name for name, _ in model.named_parameters()]
        self._clip_norm = recipe.clip_norm
        self._zero_stage = layout.zero_stage
        self._copies = DeviceCopies(device, DTYPES[recipe.precision])
        self._snapshot = Snapshot()
        self._shares_rows = layout.sequence_ranks > 1
        if self._shares_rows:
            model.across_ranks = SequenceGroup.of_this_rank(layout.sequence_ranks).across_ranks
        model.to(device, DTYPES[recipe.precision])
        if layout.zero_stage == 3:
            set_z3_leaf_modules(model, [Layer])  # gather a layer at once: half the overhead of one gather a weight
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=_adamw(model, recipe), config=config)
        set_timeouts(layout.collective_timeout)  # DeepSpeed makes groups of its own
        self._ema = None if recipe.ema_decay is None else MovingAverage(recipe.ema_decay)
        if self._ema is not None:
            self._ema.begin(parameter_slices(self._engine, self._zero_stage))

    def accumulate(self, batch: Batch, scale: float, slope: Callable[[Tensor], Tensor] | None = None) -> LossSum:
        """Forward and backward of one micro-batch: adds the gradient of `scale` x its loss sum, averaged over ranks.

        `slope` adds a loss of the pooled states of its pairs, of which it gives the gradient by these states.

        Returns the unscaled sums, detached. Where ranks share a row, each has its share of it as `batch`, and the sums
        are those of the share: gradients of a row are summed over its ranks like those of rows over all.
        """
        sums: LossSum = self._engine(self._placed(batch))
        loss = sums.loss * scale
        if slope is not None and sums.pooled is not None:
            loss = loss + (sums.pooled * slope(sums.pooled.detach())).sum()
        self._engine.backward(loss, scale_wrt_gas=False)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()
        return sums.detached()

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> LossSum:
        """Forward of one micro-batch; changes nothing."""
        self._engine.eval()
        sums: LossSum = self._engine(self._placed(batch))
        self._engine.train()
        return sums

    def pool(self, batch: Batch) -> Tensor:
        """Pooled states [2Q, H] of the pairs of one micro-batch, by a forward pass without head; changes nothing."""
        placed = self._placed(batch)
        return self.use_model(lambda model: model.pooled(placed))

    @torch.no_grad()
    def use_model(self, use: Callable[[NeoModel], Result]) -> Result:
        """The result of `use` on the network, which must run the same modules in the same order on every rank."""
        self._engine.eval()
        result = use(self._engine.module)
        self._engine.train()
        return result

    def apply(self, learning_rate: float) -> float:
        """Clip the accumulated gradient and update the parameters; returns the norm before clipping.

        Where the norm is not finite nothing is applied, on any rank.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate * group[FACTOR]
        norm = self._norm_without_zero() if self._zero_stage == 0 else math.nan
        if self._zero_stage > 0 or math.isfinite(norm):
            self._engine.step()
        if self._zero_stage > 0:
            norm = float(self._engine.get_global_grad_norm())
        self.num_applied += math.isfinite(norm)
        if self._ema is not None and math.isfinite(norm):
            self._ema.update(parameter_slices(self._engine, self._zero_stage))
        return norm

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Name and whole value of each parameter, one at a time: do not keep them. On every rank."""
        import deepspeed

        for name, parameter in zip(self._names, self._engine.module.parameters(), strict=True):
            with deepspeed.zero.GatheredParameters([parameter], enabled=self._zero_stage == 3):
                yield name, parameter.detach()

    def snapshot(self) -> State:
        """This rank's share of the trained parameters and their moments, copied to host memory.

        Frozen parameters are an input.
        """
        held = self.slices() if self._zero_stage or dist.get_rank() == 0 else []
        return State(dist.get_rank(), self._snapshot.take(held))

    def slices(self) -> list[ParameterSlice]:
        """What this rank holds of each trained parameter, in place: weight, moments, and the EMA where one is kept.

        They may be filled from a checkpoint before `resume`.
        """
        slices = parameter_slices(self._engine, self._zero_stage)
        return slices if self._ema is None else self._ema.beside(slices)

    def resume(self, num_applied: int) -> None:
        """Go on, after `num_applied` updates, from what `slices` of all ranks hold now."""
        publish(self._engine, self._zero_stage, num_applied)
        self.num_applied = num_applied

    def take_average(self) -> None:
        """Continue with the EMA as weights. For handing out: the moments stay those of the weights before."""
        take_average(self.slices())
        publish(self._engine, self._zero_stage, self.num_applied)

    def take_mean(self, before: Iterable[Fill]) -> None:
        """Continue with the mean of the weights and of earlier states, each of which fills slices, as weights."""
        take_mean(self.slices(), before)
        publish(self._engine, self._zero_stage, self.num_applied)

    def _placed(self, batch: Batch) -> Batch:
        """The batch on the device; padded where code is compiled for its length. Shares of rows come padded."""
        pads = self._engine.module.is_compiled and not self._shares_rows
        return self._copies.place(pad_to_grid(batch) if pads else batch)

    def _norm_without_zero(self) -> float:
        """Clip the gradient, which without ZeRO every rank holds whole; returns the norm before."""
        trainable = [parameter for parameter in self._engine.module.parameters() if parameter.requires_grad]
        return float(nn.utils.clip_grad_norm_(trainable, self._clip_norm))


def _adamw(model: nn.Module, recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW over the trainable parameters: matrices decay, norm gains and biases do not.

    A group for each factor of the learning rate, and in it for each of the two.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    factors = dict.fromkeys(trainable, 1.0)
    if recipe.learning_rate_factors:
        assert isinstance(model, NeoModel), "parts are those of a NEO"
        factors = factors_of_parameters(model, recipe.learning_rate_factors)
    groups: list[dict[str, Any]] = [
        {"params": chosen, "weight_decay": recipe.weight_decay if decays else 0.0, FACTOR: factor}
        for factor in sorted(set(factors.values()), reverse=True)
        for decays in (True, False)
        if (chosen := [p for name, p in trainable.items() if factors[name] == factor and (p.ndim > 1) == decays])
    ]
    return torch.optim.AdamW(groups, lr=recipe.peak_learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)
