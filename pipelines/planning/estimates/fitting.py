"""Whether a training step fits its GPU, and the nearest layout of the site that would.

Owns the share of a GPU that a rank may fill, and the order in which other layouts are tried: what costs least time
first. Everything is computed; nothing is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

from cluster.site import GangResources
from neo_model.costs.gpus import GPUS, Gpu
from pipelines.planning.estimates.step_costs import StepMemory
from stages.contract import GangLayout

FILLED_SHARE: Final = 0.9
"""Largest share of a GPU's memory that is planned for; gaps of the allocator take the rest."""
MOST_RANKS_TRIED: Final = 1024
MOST_SHARING_TRIED: Final = 8
"""Most ranks that are tried to share a row: the GPUs of a machine, as they exchange tokens in every layer."""


def fits(peak_bytes: float, gpu: Gpu) -> bool:
    """Whether a rank with this peak fits the GPU."""
    return peak_bytes <= FILLED_SHARE * gpu.memory_bytes


def nearest_fit(
    memory: StepMemory, gang: GangResources, gpu: Gpu, refused: Callable[[GangLayout], str]
) -> GangLayout | None:
    """The layout that fits `gpu` with the fewest changes to that of `gang`, or None. `refused` says why training would
    not take a layout, or ''."""
    for layout in _others(gang):
        if not refused(layout) and fits(memory.with_layout(layout).peak, gpu):
            return layout
    return None


def smallest_gpu(peak_bytes: float) -> Gpu | None:
    """The known type of GPU with the least memory that a rank with this peak fits, or None."""
    large_enough = [gpu for gpu in GPUS.values() if fits(peak_bytes, gpu)]
    return min(large_enough, key=lambda gpu: gpu.memory_bytes, default=None)


def changes(layout: GangLayout, gang: GangResources) -> str:
    """What to write under a step's `[steps.NAME.gang]` for this layout: `zero_stage = 3, offload_optimizer = true`."""
    changed = {name: value for name, value in layout.model_dump().items() if value != getattr(gang, name)}
    return ", ".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else value}" for name, value in changed.items()
    )


def _others(gang: GangResources) -> Iterator[GangLayout]:
    """Other layouts, from the least change to the most: further ZeRO stages (communication), activation checkpointing
    (a third more operations), ranks that share rows (an exchange in every layer), an optimizer on the host (slow
    updates), and more ranks (more GPUs)."""
    num_ranks = [gang.num_ranks]
    while num_ranks[-1] * 2 <= MOST_RANKS_TRIED:
        num_ranks.append(num_ranks[-1] * 2)
    stages = range(max(1, gang.zero_stage), 4)
    shared = [gang.sequence_ranks]
    while shared[-1] * 2 <= MOST_SHARING_TRIED:
        shared.append(shared[-1] * 2)
    choices = product(num_ranks, _from(gang.offload_optimizer), shared, _from(gang.activation_checkpointing), stages)
    for ranks, offload, sequence_ranks, checkpointing, zero_stage in choices:
        if ranks % sequence_ranks:
            continue
        yield gang.layout.model_copy(
            update={
                "num_ranks": ranks,
                "zero_stage": zero_stage,
                "sequence_ranks": sequence_ranks,
                "offload_optimizer": offload,
                "activation_checkpointing": checkpointing,
            }
        )


def _from(is_on: bool) -> tuple[bool, ...]:
    return (True,) if is_on else (False, True)
