"""Memory of one training rank, computed from parameter counts, precision and layout alone.

Owns the arithmetic of DeepSpeed's ZeRO stages as `engine.py` sets them up: which share of weights, fp32 masters, Adam
moments and gradients a rank keeps, and the communication buffers, of which a CPU allocates only the pages that it
writes. Activations are measured on the meta device (`neo_model/costs/activation_memory.py`). Allocator fragmentation is
not counted.

Tests measure ZeRO 0, 2 and 3 in fp32, and what an optimizer in host memory adds to ZeRO 2 and 3 on a CPU, where host
and device are one. ZeRO 1, and which of the two holds what, follow DeepSpeed's source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from neo_model.lora import LORA_A, LORA_B, AdaptedLinear
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
    num_largest: int
    """Values in the largest parameter."""
    num_largest_trained: int
    """Values in the largest parameter that is trained."""
    num_changed: int
    """Values in weights that the finished model has otherwise than what it began with: those that train, and those that
    adapters are merged into."""

    @classmethod
    def of(cls, model: nn.Module, persistent_below: int) -> ParameterCounts:
        """Count the parameters of a model, of which those with fewer values than `persistent_below` are persistent."""
        parameters = list(model.parameters())
        adapted = [module.weight for module in model.modules() if isinstance(module, AdaptedLinear)]
        plain = [one for name, one in model.named_parameters() if not name.endswith((LORA_A, LORA_B))]
        return cls(
            num_values=sum(one.numel() for one in parameters),
            num_trainable=sum(one.numel() for one in parameters if one.requires_grad),
            num_persistent=sum(one.numel() for one in parameters if one.numel() < persistent_below),
            num_largest=max(one.numel() for one in parameters),
            num_largest_trained=max((one.numel() for one in parameters if one.requires_grad), default=0),
            num_changed=sum(one.numel() for one in (*adapted, *(one for one in plain if one.requires_grad))),
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
    starting: int = 0
    """Host memory at the start: one parameter at a time, on its way to the device and to its digest. The files
    that weights are mapped from lie in memory once for all ranks of a host, and the kernel drops them to make room."""
    handing_out: int = 0
    """Host memory of rank 0 at the end: the weights that changed, before they are written as the finished model."""

    @property
    def state(self) -> int:
        """Weights and optimizer state, which a rank holds at all times."""
        return self.weights + self.masters + self.moments + self.ema

    @property
    def host_peak(self) -> int:
        """Host memory of a rank, beside its process: of rank 0, at the start or at the end, which has most."""
        return max(self.starting, self.on_host + self.snapshot + self.handing_out)

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
    memory = replace(
        memory,
        snapshot=num_kinds * FP32_BYTES * held,
        starting=FP32_BYTES * counts.num_largest,
        handing_out=BYTES_PER_VALUE[precision] * counts.num_changed,
    )
    if layout.zero_stage > 1 and reduction_precision(precision, layout) != precision:
        # Under ZeRO-2 the buffer of bf16 gradients is copied to fp32 before it is summed; under ZeRO-3 it is fp32.
        in_bf16 = memory.buckets if layout.zero_stage == 2 else 0
        memory = replace(memory, buckets=in_bf16 + FP32_BYTES * layout.reduction_buffer_values)
    if not layout.offload_optimizer or layout.zero_stage == 0:
        return memory
    return _offloaded(memory, counts, layout, precision)


def _offloaded(memory: RankMemory, counts: ParameterCounts, layout: GangLayout, precision: Precision) -> RankMemory:
    """The same with the optimizer in host memory. `update` is its gradient there.

    Gradients accumulate on the host under ZeRO-3. Under ZeRO-2 they do so only in an fp32 network: DeepSpeed sums those
    of a bf16 network in fp32 on the device, in its partition, and copies it once a step. Under ZeRO-1 and 2 updated
    weights come back through a copy in the precision of the network; gradients pass a buffer on either side.
    """
    width = BYTES_PER_VALUE[precision]
    accumulates = layout.zero_stage == 3 or (layout.zero_stage == 2 and precision == "fp32")
    moved = dict.fromkeys(("masters", "moments", "ema", "update", *(("gradients",) if accumulates else ())), 0)
    on_host = sum(getattr(memory, name) for name in moved)
    if layout.zero_stage == 3:
        return replace(memory, **moved, on_host=on_host)
    buffer = width * counts.num_largest_trained
    share = -(-counts.num_trainable // layout.num_ranks)
    return replace(memory, **moved, buckets=memory.buckets + buffer, on_host=on_host + width * share + buffer)


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
