"""How a site has the network computed: which attention, and what is recomputed.

Owns the step from the names in a layout to the settings of a `NeoModel`, and the warnings about settings that a device
does not suit. None of them changes a result beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from neo_model.attention.backends import backend_named
from neo_model.attention.interface import Backend
from neo_model.model import NeoModel
from stages.contract import GangLayout
from stages.training.recipe import Precision

DTYPES: Final[dict[Precision, torch.dtype]] = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Precision of forward and backward, from the word of a recipe to the type of torch."""


def set_execution(
    model: NeoModel, layout: GangLayout, precision: Precision, device: str, warn: Callable[[str], None]
) -> None:
    """Set what the layout asks for. `warn` is called for what runs, but not as it should on `device`."""
    config, dtype = model.config, DTYPES[precision]
    model.backend = backend_named(layout.attention, torch.device(device), dtype, config.query_key_dim)
    model.activation_checkpointing = layout.activation_checkpointing
    if model.backend is Backend.SDPA and device.startswith("cuda"):
        warn(
            f'attention = "sdpa" holds {config.num_heads} dense scores for each pair of tokens of a document on a GPU; '
            'set attention = "auto" in the site\'s [gang]'
        )
