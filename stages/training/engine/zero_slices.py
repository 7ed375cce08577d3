"""What one rank holds of each trained parameter: slices of its fp32 weight and of its two Adam moments, in place.

Owns DeepSpeed's private layouts, which differ by ZeRO stage, and nothing else knows them:

    0        every rank holds every parameter whole
    1, 2     a group's parameters are laid end to end; a rank holds one even slice, which may cut a parameter
    1 bf16   the same in an optimizer of its own, `BF16_Optimizer`, which sums gradients in fp32
    3        each parameter is padded and cut evenly; a rank holds one slice of every parameter

Private names in use: `round_robin_bit16_groups`, `round_robin_bit16_offsets`, `single_partition_of_fp32_groups`,
`bit16_groups_flat` (1, 2); `bf16_groups`, `bf16_groups_flat`, `fp32_groups_flat_partition` (1 bf16); `fp16_groups`,
`fp32_partitioned_groups_flat`, `_partition_all_parameters`, `_reassign_or_swap_out_partitioned_parameters`,
`persistent_parameters` (3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

WEIGHT: Final = "weight"
MOMENTS: Final = ("exp_avg", "exp_avg_sq")
KINDS: Final = (WEIGHT, *MOMENTS)
EMA: Final = "ema"
"""Exponential moving average of the weight, where the recipe has one kept (`weight_average.py`)."""


@dataclass(frozen=True)
class ParameterSlice:
    """A slice of one parameter's flattened values."""

    name: str
    start: int
    """Which of the parameter's values comes first."""
    values: Mapping[str, Tensor]
    """Kind to its values, fp32 [length]: views, so that writing to them changes the optimizer. `KINDS`, and `EMA`."""

    @property
    def length(self) -> int:
        return self.values[WEIGHT].shape[0]


@dataclass(frozen=True)
class _Cut:
    """Where a slice of a parameter lies in a flat tensor of the optimizer."""

    parameter: nn.Parameter
    start: int
    offset: int
    length: int


def parameter_slices(deepspeed_engine: Any, zero_stage: int) -> list[ParameterSlice]:
    """The pieces of this rank, in the order of the optimizer. Moments that do not exist yet are made, zero."""
    names = {parameter: name for name, parameter in deepspeed_engine.module.named_parameters()}
    inner = deepspeed_engine.optimizer if zero_stage == 0 else deepspeed_engine.optimizer.optimizer
    found: list[ParameterSlice] = []
    for flat, key, cuts in _flat_tensors(deepspeed_engine, zero_stage):
        moments = _moments(inner, key)
        for cut in cuts:
            inside = slice(cut.offset, cut.offset + cut.length)
            values = {WEIGHT: flat[inside], **{kind: moments[kind].view(-1)[inside] for kind in MOMENTS}}
            found.append(ParameterSlice(names[cut.parameter], cut.start, values))
    return found


@torch.no_grad()
def publish(deepspeed_engine: Any, zero_stage: int, num_applied: int) -> None:
    """Let the network compute with the weights that were written to the pieces. Collective."""
    optimizer = deepspeed_engine.optimizer
    inner = optimizer if zero_stage == 0 else optimizer.optimizer
    for state in inner.state.values():
        state["step"].fill_(num_applied)
    if zero_stage in (1, 2):
        in_bf16 = hasattr(optimizer, "bf16_groups_flat")
        wholes = optimizer.bf16_groups_flat if in_bf16 else optimizer.bit16_groups_flat
        for whole, (_, _, partition) in zip(wholes, _partitioned_groups(optimizer), strict=True):
            # With `offload_optimizer` the partition lies in host memory, which NCCL does not read.
            dist.all_gather_into_tensor(whole, partition.to(device=whole.device, dtype=whole.dtype))
    if zero_stage == 3:
        optimizer._partition_all_parameters()
        for sub_group in range(len(optimizer.fp16_groups)):
            optimizer._reassign_or_swap_out_partitioned_parameters(sub_group)
        if optimizer.persistent_parameters:
            optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)


def _flat_tensors(deepspeed_engine: Any, zero_stage: int) -> Iterator[tuple[Tensor, Tensor, list[_Cut]]]:
    """Flat fp32 weights, the tensor under which the inner optimizer files their moments, and what lies in them."""
    optimizer = deepspeed_engine.optimizer
    if zero_stage == 0:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield parameter.detach().view(-1), parameter, [_Cut(parameter, 0, 0, parameter.numel())]
    elif zero_stage == 3:
        for group, flat in zip(optimizer.fp16_groups, optimizer.fp32_partitioned_groups_flat, strict=True):
            yield flat.detach(), flat, _even_cuts(group)
    else:
        for group, offsets, flat in _partitioned_groups(optimizer):
            yield flat.detach(), flat, _overlapping_cuts(group, offsets, flat.numel())


def _partitioned_groups(optimizer: Any) -> Iterator[tuple[list[nn.Parameter], list[int], Tensor]]:
    """ZeRO-1 and 2: the parameters of each group, where each begins in it, and this rank's fp32 slice of it."""
    if hasattr(optimizer, "bf16_groups"):
        for group, partition in zip(optimizer.bf16_groups, optimizer.fp32_groups_flat_partition, strict=True):
            yield group, [0, *accumulate(parameter.numel() for parameter in group)][:-1], partition
        return
    yield from zip(
        optimizer.round_robin_bit16_groups,
        optimizer.round_robin_bit16_offsets,
        optimizer.single_partition_of_fp32_groups,
        strict=True,
    )


def _even_cuts(group: list[Any]) -> list[_Cut]:
    """ZeRO-3: the same share of every parameter; the last ranks' shares end in padding or are nothing but padding."""
    cuts, offset = [], 0
    for parameter in group:
        share = parameter.ds_tensor.ds_numel
        start = min(dist.get_rank() * share, parameter.ds_numel)
        cuts.append(_Cut(parameter, start, offset, min(share, parameter.ds_numel - start)))
        offset += share
    return cuts


def _overlapping_cuts(group: list[nn.Parameter], offsets: list[int], partition_size: int) -> list[_Cut]:
    """ZeRO-1 and 2: those parameters, or parts of them, that lie in this rank's slice of the group."""
    first = dist.get_rank() * partition_size
    cuts = []
    for parameter, offset in zip(group, offsets, strict=True):
        start = max(first, offset)
        until = min(first + partition_size, offset + parameter.numel())
        if start < until:
            cuts.append(_Cut(parameter, start - offset, start - first, until - start))
    return cuts


def _moments(inner: torch.optim.Optimizer, key: Tensor) -> dict[str, Tensor]:
    state: dict[str, Tensor] = inner.state[key]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=key.device)
        state |= {kind: torch.zeros_like(key, memory_format=torch.preserve_format) for kind in MOMENTS}
    return state
