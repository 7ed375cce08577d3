"""What a layer asks of attention: the function that it calls, the backends there are, and their error.

Owns names and types only, so that layers, backends and kernels import it and nothing here imports them.

L tokens, h query heads, g key-value heads, D value width, E = 2 D query-key width.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q [L, h, E], k [L, g, E], v [L, g, D]) -> [L, h, D], softmax scale 1 / sqrt(D)."""


class Backend(StrEnum):
    """Ways to compute the same attention."""

    SDPA = "sdpa"
    """torch's scaled_dot_product_attention with dense masks of document size; any device, any precision."""
    FLASH = "flash"
    """Two causal passes of a fused kernel, without a mask; CPU, and CUDA in half precision."""
    FLEX = "flex"
    """FlexAttention with a block mask; CUDA, any precision."""


class BackendUnavailableError(RuntimeError):
    """A backend that cannot run on this device or in this precision; the message names one that can."""
