"""Memory of one training rank, computed from parameter counts, precision and layout alone.

Owns the arithmetic of DeepSpeed's ZeRO stages as `engine.py` sets them up: which share of weights, fp32 masters, Adam
moments and gradients a rank keeps, and the communication buffers, of which a CPU allocates only the pages that it
writes. Activations are measured on the meta device (`neo_model/costs/activation_memory.py`). Allocator fragmentation is
not counted.

Tests measure ZeRO 0, 2 and 3 in fp32. ZeRO 1 and an optimizer in host memory follow DeepSpeed's source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from stages.contract import GangLayout
from stages.training.engine.deepspeed_config import LIVE_PARAMETER_VALUES, reduction_precision
from stages.training.recipe import Precision

ZeroStage: TypeAlias = Literal[0, 1, 2, 3]

FP32_BYTES: Final = 4
BYTES_PER_VALUE: Final[Mapping[Precision, int]] = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """How many values the parameters of a network have."""

    num_values: int
    """Values in all parameters."""
    num_trainable: int
    """Values in parameters that are trained."""
    num_persistent: int
    """Values in parameters that ZeRO-3 keeps whole on every rank."""

    @classmethod
    def of(cls, model: nn.Module, persistent_below: int) -> ParameterCounts:
        """Count the parameters of a model, of which those with fewer values than `persistent_below` are persistent."""
        parameters = list(model.parameters())
        return cls(
            num_values=sum(one.numel() for one in parameters),
            num_trainable=sum(one.numel() for one in parameters if one.requires_grad),
            num_persistent=sum(one.numel() for one in parameters if one.numel() < persistent_below),
        )

    @property
    def num_frozen(self) -> int:
        """Values in parameters that are not trained."""
        return self.num_values - self.num_trainable


@dataclass(frozen=True, kw_only=True)
class RankMemory:
    """Bytes on one rank, by what they are for. `neo estimate --json` prints these names."""

    weights: int
    """Weights in the precision of the forward pass; under ZeRO-3 this rank's share, and persistent ones whole."""
    masters: int
    """fp32 master weights of the optimizer; 0 without ZeRO, where the weights themselves are fp32."""
    moments: int
    """The two Adam moments, fp32."""
    gradients: int
    """Accumulated gradients, fp32: from the first micro-batch of a step until its update; under ZeRO-3 always."""
    buckets: int
    """Gradient reduction buffers, during the backward pass; under ZeRO-3 always."""
    gathered: int
    """Parameters that ZeRO-3 gathers from other ranks while they are in use."""
    activations: int
    """Activations of forward and backward, with the loss and its logits."""
    update: int
    """Temporary memory of the optimizer update."""
    ema: int = 0
    """Moving average of the weights, fp32, of what this rank keeps of them; 0 where the recipe keeps none."""
    on_host: int = 0
    """Kept in host memory instead, and counted in none of the above."""
    snapshot: int = 0
    """Host memory: the copy of trained weights and moments that is written while training continues."""
    building: int = 0
    """Host memory at the start: the whole network, before it is on the device."""

    @property
    def state(self) -> int:
        """Weights and optimizer state, which a rank holds at all times."""
        return self.weights + self.masters + self.moments + self.ema

    @property
    def host_peak(self) -> int:
        """Host memory of a rank, beside its process: the larger of the start and of training."""
        return max(self.building, self.on_host + self.snapshot)

    @property
    def peak(self) -> int:
        """The larger of the peak of forward and backward and the peak of the update."""
        passing = self.buckets + self.gathered + self.activations
        return self.state + self.gradients + max(passing, self.update)


def rank_memory(
    counts: ParameterCounts,
    layout: GangLayout,
    activations: int,
    *,
    precision: Precision,
    on_gpu: bool,
    keeps_ema: bool = False,
) -> RankMemory:
    """The memory of one rank, of which the activations of a micro-batch take `activations` bytes."""
    memory = _on_device(counts, layout, activations, BYTES_PER_VALUE[precision], on_gpu=on_gpu)
    if keeps_ema:  # beside the fp32 weights, of which two moments are kept
        memory = replace(memory, ema=memory.moments // 2)
    held = counts.num_trainable if layout.zero_stage == 0 else -(-counts.num_trainable // layout.num_ranks)
    num_kinds = 4 if keeps_ema else 3  # the weight, two moments, and the average
    memory = replace(memory, snapshot=num_kinds * FP32_BYTES * held, building=FP32_BYTES * counts.num_values)
    if layout.zero_stage > 1 and reduction_precision(precision, layout) != precision:
        # The buffer of bf16 gradients is copied to fp32 before it is summed over ranks.
        memory = replace(memory, buckets=memory.buckets + FP32_BYTES * layout.reduction_buffer_values)
    if not layout.offload_optimizer or layout.zero_stage == 0:
        return memory
    moved = dict.fromkeys(
        ("masters", "moments", "ema", "update", *(("gradients",) if layout.zero_stage > 1 else ())), 0
    )
    return replace(memory, **moved, on_host=sum(getattr(memory, name) for name in moved))


def _on_device(
    counts: ParameterCounts, layout: GangLayout, activations: int, width: int, *, on_gpu: bool
) -> RankMemory:
    """The memory of one rank with the optimizer on its device; `width` is bytes a value in the forward pass."""
    share = -(-counts.num_trainable // layout.num_ranks)
    common: dict[str, Any] = {
        "masters": FP32_BYTES * share,
        "moments": 2 * FP32_BYTES * share,
        "update": FP32_BYTES * share,
        "activations": activations,
        "gathered": 0,
    }
    buffer = width * layout.reduction_buffer_values
    whole_weights = width * counts.num_values
    match layout.zero_stage:
        case 0:
            trained = FP32_BYTES * counts.num_trainable
            common |= {"masters": 0, "moments": 2 * trained, "update": 0}
            return RankMemory(**common, weights=whole_weights, gradients=trained, buckets=min(buffer, trained))
        case 1:
            buffers = buffer * (2 if on_gpu else 1) * FP32_BYTES // width  # gradients are reduced in fp32
            gradients = FP32_BYTES * counts.num_trainable
            return RankMemory(**common, weights=whole_weights, gradients=gradients, buckets=buffers)
        case 2:
            buffers = buffer * (2 if on_gpu else 1)
            return RankMemory(**common, weights=whole_weights, gradients=FP32_BYTES * share, buckets=buffers)
        case 3:
            weights = width * (-(-counts.num_values // layout.num_ranks) + counts.num_persistent)
            common |= {"gathered": width * _num_gathered(counts.num_values - counts.num_persistent, layout)}
            return RankMemory(**common, weights=weights, gradients=FP32_BYTES * share, buckets=buffer)


def _num_gathered(num_partitioned: int, layout: GangLayout) -> int:
    """Values of other ranks' shares that are gathered at once under ZeRO-3.

    With activation checkpointing those in use. Without it also those of all layers, which torch keeps for the backward
    pass.
    """
    in_use = min(num_partitioned, LIVE_PARAMETER_VALUES)
    return in_use if layout.activation_checkpointing else num_partitioned + in_use
