"""The choice of an attention backend, and its preparation for one packed row.

All backends give the same result: attention is causal inside each document, bidirectional inside each image, and
nothing attends across documents. `Backend` (in `interface`) says where each runs.
"""

from __future__ import annotations

from typing import Final

import torch

from neo_model.attention.flash import prepare_flash
from neo_model.attention.flex import prepare_flex
from neo_model.attention.interface import Attend, Backend
from neo_model.attention.sdpa import prepare_sdpa
from neo_model.attention.varlen import has_kernel
from neo_model.inputs.batch import Batch

AUTO: Final = "auto"
"""Instead of the name of a backend: `default_backend`."""


def default_backend(device: torch.device, dtype: torch.dtype, query_key_dim: int) -> Backend:
    """The fastest backend for this device, precision and head width E: flash where its kernels run, else on CUDA flex.

    On a machine without the device, as `neo estimate` is typed on, a GPU of the year 2020 or later is meant.
    """
    if has_kernel(device, dtype, query_key_dim):
        return Backend.FLASH
    return Backend.FLEX if device.type == "cuda" else Backend.SDPA


def backend_named(name: str, device: torch.device, dtype: torch.dtype, query_key_dim: int) -> Backend:
    """The backend of this name; for `auto`, `default_backend`."""
    return default_backend(device, dtype, query_key_dim) if name == AUTO else Backend(name)


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
