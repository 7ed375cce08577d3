"""How a site has the network computed: which attention, what is recomputed and compiled, and whether bits repeat.

Owns the step from the names in a layout to the settings of a `NeoModel`, and the warnings about settings that a device
does not suit. None of them changes a result beyond rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import torch

from neo_model.attention.backends import backend_named
from neo_model.attention.interface import Backend
from neo_model.config import NeoConfig
from neo_model.layer import compiled_regions
from neo_model.model import NeoModel
from stages.contract import GangLayout, StageError
from stages.training.engine.deepspeed_config import deepspeed_config
from stages.training.engine.sequence_group import why_not_shared
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.recipe import Precision, TrainRecipe

DTYPES: Final[dict[Precision, torch.dtype]] = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Precision of forward and backward, from the word of a recipe to the type of torch."""


PARTITIONS_PARAMETERS: Final = 3
"""The ZeRO stage in which layers do not hold their parameters."""


def set_execution(
    model: NeoModel, layout: GangLayout, precision: Precision, device: str, warn: Callable[[str], None]
) -> None:
    """Set what the layout asks for. `warn` is called for what runs, but not as it should on `device`."""
    config = model.config
    model.backend = _backend(config, layout, precision, device)
    model.activation_checkpointing = layout.activation_checkpointing
    model.regions = compiled_regions() if _compiles_layers(layout) else None
    if layout.deterministic:
        make_deterministic()
    if layout.compile_layers and model.regions is None:
        warn("compile_layers is off: under ZeRO stage 3, Python hooks gather each weight before its use")
    if model.backend is Backend.SDPA and device.startswith("cuda"):
        warn(
            f'attention = "sdpa" holds {config.num_heads} dense scores for each pair of tokens of a document on a GPU; '
            'set attention = "auto" in the site\'s [gang]'
        )


def check_layout(layout: GangLayout, config: NeoConfig, recipe: TrainRecipe) -> None:
    """Raise `StageError` for a layout in which no rank would train, before there are ranks."""
    if why := why_not_shared(config, layout.sequence_ranks):
        raise StageError(f"{why}. Set it in the site's [gang]")
    if why := why_pairs_not_compared(recipe, layout):
        raise StageError(why)
    deepspeed_config(recipe, layout, num_micro_batches=1, device="cpu")


def why_pairs_not_compared(recipe: TrainRecipe, layout: GangLayout) -> str:
    """Why a contrastive loss cannot be computed under a layout; '' where it can, or where there is none."""
    if layout.sequence_ranks == 1 or not isinstance(recipe, ObjectivesRecipe) or not recipe.compares_pairs:
        return ""
    return (
        f"contrastive_weight = {recipe.contrastive_weight:g} compares whole pictures and captions, of which ranks that "
        f"share a row have parts: set sequence_ranks = 1 in the site's [gang] (it is {layout.sequence_ranks}), or "
        "contrastive_weight=0"
    )


def is_compiled(config: NeoConfig, layout: GangLayout, precision: Precision, device: str) -> bool:
    """`NeoModel.is_compiled` of a network that `set_execution` has set."""
    return _compiles_layers(layout) or _backend(config, layout, precision, device) is Backend.FLEX


def _compiles_layers(layout: GangLayout) -> bool:
    return layout.compile_layers and layout.zero_stage < PARTITIONS_PARAMETERS


def _backend(config: NeoConfig, layout: GangLayout, precision: Precision, device: str) -> Backend:
    return backend_named(layout.attention, torch.device(device), DTYPES[precision], config.query_key_dim)


def make_deterministic() -> None:
    """Let torch choose kernels whose sums have one order, in this process and for good. Raises where there is none."""
    # cuBLAS reads it when its first product is computed; without it, torch refuses the product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Every `empty` of ours is written before it is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
