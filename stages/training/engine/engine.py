"""One rank's share of the network and its optimizer: DeepSpeed behind a few calls.

Owns forward, backward and update under ZeRO 0 to 3, the rank's checkpoint files in DeepSpeed's own format, and the
gathering of whole parameters. What is trained on, in which order and at which learning rate is the loop's.

All calls are collective: every rank makes the same ones in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from neo_model.batch import Batch
from neo_model.layer import Layer
from neo_model.loss import LossSum
from stages.contract import GangLayout, StageError
from stages.training.engine.config import deepspeed_config, prepare_surroundings
from stages.training.recipe import TrainRecipe

TAG: Final = "engine"
"""Folder of DeepSpeed's files inside a checkpoint."""


class Engine:
    """A network in training. Parameters that ask for no gradient are kept out of the optimizer."""

    def __init__(
        self, model: nn.Module, recipe: TrainRecipe, layout: GangLayout, num_micro_batches: int, device: str
    ) -> None:
        """`num_micro_batches` calls of `accumulate` make one `apply`."""
        config = deepspeed_config(recipe, layout, num_micro_batches, device)
        prepare_surroundings(device)
        import deepspeed
        from deepspeed.utils import set_z3_leaf_modules

        self._names = [name for name, _ in model.named_parameters()]
        self._clip_norm = recipe.clip_norm
        self._zero_stage = layout.zero_stage
        self._device = device
        self._dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        model.to(device, self._dtype)
        if layout.zero_stage == 3:
            set_z3_leaf_modules(model, [Layer])  # gather a layer at once: half the overhead of one gather a weight
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=_adamw(model, recipe), config=config)

    @property
    def num_applied(self) -> int:
        """Optimizer steps applied since the first, those before a restored checkpoint included."""
        return int(self._engine.global_steps)

    def accumulate(self, batch: Batch, scale: float) -> LossSum:
        """Forward and backward of one micro-batch: adds the gradient of `scale` x its loss sum, averaged over ranks.

        Returns the unscaled sums, detached.
        """
        sums = self._engine(batch.to(self._device, self._dtype))
        self._engine.backward(sums.loss * scale, scale_wrt_gas=False)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()
        return LossSum(*(value.detach() for value in sums))

    def apply(self, learning_rate: float) -> float:
        """Clip the accumulated gradient and update the parameters; returns the norm before clipping.

        Where the norm is not finite nothing is applied, on any rank.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._zero_stage > 0:
            self._engine.step()
            return float(self._engine.get_global_grad_norm())
        norm = nn.utils.clip_grad_norm_(self._trainable(), self._clip_norm)
        if norm.isfinite():
            self._engine.step()
        return float(norm)

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Name and whole value of each parameter, one at a time: do not keep them. On every rank."""
        import deepspeed

        for name, parameter in zip(self._names, self._engine.module.parameters(), strict=True):
            with deepspeed.zero.GatheredParameters([parameter], enabled=self._zero_stage == 3):
                yield name, parameter.detach()

    def save(self, folder: Path) -> None:
        """Write this rank's files under `folder/engine`. Frozen parameters are left out: they are an input."""
        self._engine.save_checkpoint(str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=True)
        for script in folder.glob("zero_to_*.py"):
            script.unlink()

    def load(self, folder: Path, num_applied: int) -> None:
        """Read what `save` wrote for the same ranks and ZeRO stage. Raises `StageError` where it is not that step."""
        path, _ = self._engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=False)
        if path is None or self.num_applied != num_applied:
            found = "nothing" if path is None else f"step {self.num_applied}"
            raise StageError(f"DeepSpeed restored {found} from {folder}, expected step {num_applied}")

    def file_prefixes(self, rank: int) -> tuple[str, ...]:
        """What the names of the checkpoint files that one rank reads begin with."""
        return (f"{TAG}/mp_rank_", f"{TAG}/zero_pp_rank_{rank}_", f"{TAG}/bf16_zero_pp_rank_{rank}_")

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._engine.module.parameters() if parameter.requires_grad]


def _adamw(model: nn.Module, recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW over the trainable parameters: matrices decay, norm gains and biases do not."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.peak_learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)
