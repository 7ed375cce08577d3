"""The one question a layer asks: which values does each query attend to?

Owns the interface of the attention backends and the choice among them. All give the same result: causal inside each
document, both ways inside each image, nothing across documents.

    sdpa    documents of like length padded together, dense masks of document size; any device
    flash   two causal passes without any mask (`attention_flash`); CPU, and CUDA in half precision
    flex    FlexAttention on a block mask built from intervals (`attention_flex`); CUDA

L tokens, h query heads, g key-value heads, D value width, E = 2 D query-key width.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor

from neo_model.inputs.batch import Batch

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q [L, h, E], k [L, g, E], v [L, g, D]) -> [L, h, D], softmax scale 1 / sqrt(D)."""


class Backend(StrEnum):
    """Ways to compute the same attention."""

    SDPA = "sdpa"
    FLASH = "flash"
    FLEX = "flex"


class BackendUnavailableError(RuntimeError):
    """A backend that cannot run here; the message names it, the reason and another."""


def default_backend(device: torch.device, dtype: torch.dtype) -> Backend:
    """The fastest backend that runs on this device with this precision."""
    if device.type == "cuda":
        return Backend.FLASH if dtype in {torch.bfloat16, torch.float16} else Backend.FLEX
    return Backend.FLASH if device.type == "cpu" else Backend.SDPA


def prepare(backend: Backend, batch: Batch) -> Attend:
    """Work out, once for all layers, how `backend` attends over this row.

    Raises BackendUnavailableError where it cannot run.
    """
    device = batch.input_ids.device
    match backend:
        case Backend.SDPA:
            from neo_model.attention.sdpa import prepare_sdpa

            return prepare_sdpa(batch, device)
        case Backend.FLASH:
            from neo_model.attention.flash import prepare_flash

            return prepare_flash(batch, device)
        case Backend.FLEX:
            from neo_model.attention.flex import prepare_flex

            return prepare_flex(batch, device)
