"""The choice of an attention backend, and its preparation for one packed row.

All backends give the same result: attention is causal inside each document, bidirectional inside each image, and
nothing attends across documents. `Backend` (in `interface`) says where each runs.
"""

from __future__ import annotations

import torch

from neo_model.attention.flash import prepare_flash
from neo_model.attention.flex import prepare_flex
from neo_model.attention.interface import Attend, Backend
from neo_model.attention.sdpa import prepare_sdpa
from neo_model.inputs.batch import Batch


def default_backend(device: torch.device, dtype: torch.dtype) -> Backend:
    """The fastest backend that runs on this device with this precision."""
    if device.type == "cuda":
        return Backend.FLASH if dtype in {torch.bfloat16, torch.float16} else Backend.FLEX
    return Backend.FLASH if device.type == "cpu" else Backend.SDPA


def prepare(backend: Backend, batch: Batch) -> Attend:
    """Build masks or segments of this row once, for all layers.

    Raises BackendUnavailableError where `backend` cannot run.
    """
    device = batch.input_ids.device
    match backend:
        case Backend.SDPA:
            return prepare_sdpa(batch, device)
        case Backend.FLASH:
            return prepare_flash(batch, device)
        case Backend.FLEX:
            return prepare_flex(batch, device)
