"""What one rank holds in memory while it trains, told from sizes, precision and layout alone.

Owns the arithmetic of DeepSpeed's stages as `engine.py` sets them up: which share of weights, fp32 masters, moments
and gradients a rank keeps, and the communication buffers, of which a CPU allocates only the pages that it writes. What
forward and backward hold beside that is measured on the meta device (`neo_model/costs/activation_memory.py`).
Fragmentation of an allocator is not counted.

Tests measure ZeRO 0, 2 and 3 in fp32; ZeRO 1 and an optimizer on the host follow DeepSpeed's source alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal, TypeAlias

from stages.training.engine import deepspeed_config as config
from stages.training.recipe import Precision

ZeroStage: TypeAlias = Literal[0, 1, 2, 3]

FP32_BYTES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many values the parameters of a network have."""

    num_values: int
    num_trainable: int
    num_persistent: int
    """In parameters that ZeRO-3 keeps whole on every rank."""

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]], trainable: Collection[str]) -> Sizes:
        """Sizes of named parameters, some of which train."""
        values = {name: prod(shape) for name, shape in shapes.items()}
        return cls(
            num_values=sum(values.values()),
            num_trainable=sum(values[name] for name in trainable),
            num_persistent=sum(number for number in values.values() if number < config.PERSISTENT_PARAMETER_VALUES),
        )

    @property
    def num_frozen(self) -> int:
        return self.num_values - self.num_trainable


@dataclass(frozen=True, kw_only=True)
class RankMemory:
    """Bytes on one rank, by what they are for."""

    weights: int
    """As the network computes with them; under ZeRO-3 this rank's share, and small ones whole."""
    masters: int
    """fp32 copies that the optimizer updates; none without ZeRO, where the weights themselves are fp32."""
    moments: int
    """AdamW's two, fp32."""
    gradients: int
    """fp32, from the first micro-batch of a step until its update; under ZeRO-3 always."""
    buckets: int
    """Rooms in which gradients are reduced, during the backward pass; under ZeRO-3 always."""
    gathered: int
    """Under ZeRO-3, parameters of others that are here while they are used."""
    activations: int
    """What forward and backward hold, the loss and its logits among it."""
    update: int
    """What the update holds that forward and backward do not."""
    on_host: int = 0
    """What is kept in the host's memory instead, and in none of the above."""

    @property
    def state(self) -> int:
        """What training is about, and holds at all times."""
        return self.weights + self.masters + self.moments

    @property
    def peak(self) -> int:
        """Forward and backward, or the update, whichever holds more."""
        passing = self.buckets + self.gathered + self.activations
        return self.state + self.gradients + max(passing, self.update)


@dataclass(frozen=True, kw_only=True)
class Carried:
    """How a network is carried by ranks, as far as memory depends on it."""

    zero_stage: ZeroStage
    num_ranks: int
    precision: Precision
    activation_checkpointing: bool
    offload_optimizer: bool
    on_gpu: bool


def rank_memory(sizes: Sizes, how: Carried, activations: int) -> RankMemory:
    """The memory of one rank, of which a micro-batch takes `activations` bytes."""
    memory = _on_device(sizes, how, activations)
    if not how.offload_optimizer or how.zero_stage == 0:
        return memory
    moved = dict.fromkeys(("masters", "moments", "update", *(("gradients",) if how.zero_stage > 1 else ())), 0)
    return replace(memory, **moved, on_host=sum(getattr(memory, name) for name in moved))


def _on_device(sizes: Sizes, how: Carried, activations: int) -> RankMemory:
    width = {"fp32": 4, "bf16": 2}[how.precision]
    share = -(-sizes.num_trainable // how.num_ranks)
    everything = {
        "masters": FP32_BYTES * share,
        "moments": 2 * FP32_BYTES * share,
        "update": FP32_BYTES * share,
        "activations": activations,
    }
    room = width * config.REDUCED_TOGETHER_VALUES
    match how.zero_stage:
        case 0:
            trained = FP32_BYTES * sizes.num_trainable
            whole = {"masters": 0, "moments": 2 * trained, "update": 0, "gradients": trained}
            return RankMemory(
                **everything | whole, weights=width * sizes.num_values, buckets=min(room, trained), gathered=0
            )
        case 1 | 2:
            gradients = FP32_BYTES * (sizes.num_trainable if how.zero_stage == 1 else share)
            rooms = room * (2 if how.on_gpu else 1)
            if how.zero_stage == 1:  # sums are reduced as they are kept, in fp32
                rooms = rooms * FP32_BYTES // width
            weights = width * sizes.num_values
            return RankMemory(**everything, weights=weights, gradients=gradients, buckets=rooms, gathered=0)
        case 3:
            weights = width * (-(-sizes.num_values // how.num_ranks) + sizes.num_persistent)
            gathered = width * _num_gathered(sizes.num_values - sizes.num_persistent, how)
            gradients = FP32_BYTES * share
            return RankMemory(**everything, weights=weights, gradients=gradients, buckets=room, gathered=gathered)


def _num_gathered(num_partitioned: int, how: Carried) -> int:
    """Values of others' shares that are here at once: those in use, and, unless layers are computed again, those of all
    layers, which torch keeps for the backward pass."""
    in_use = min(num_partitioned, config.LIVE_PARAMETER_VALUES)
    return in_use if how.activation_checkpointing else num_partitioned + in_use
