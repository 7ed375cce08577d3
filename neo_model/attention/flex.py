"""The flex backend: compiled FlexAttention with a block mask built from intervals.

Runs on CUDA in any precision. FlexAttention has no backward pass on the CPU, so there this backend is unavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from neo_model.attention.interface import Attend, BackendUnavailableError
from neo_model.attention.visibility import visible_blocks, visible_intervals
from neo_model.inputs.batch import Batch

BLOCK_TOKENS: Final = 128
"""Side of a block of the mask, in tokens; FlexAttention's default."""
MAX_COMPILED: Final = 128
"""Most lengths that it is compiled for; torch's own limit of 8 would fall back to code that holds all scores."""


def prepare_flex(batch: Batch, device: torch.device) -> Attend:
    """Build the block mask of this row. Raises BackendUnavailableError on any device but CUDA."""
    if device.type != "cuda":
        raise BackendUnavailableError(f"flex: FlexAttention cannot be trained on {device.type}; use flash or sdpa")
    return attend_with(block_mask(batch, device), _compiled())


def attend_with(mask: BlockMask, flex: Callable[..., Tensor]) -> Attend:
    """Call `flex` with heads before tokens, the layout of FlexAttention."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        queries, keys, values = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        out = flex(queries, keys, values, block_mask=mask, scale=v.shape[-1] ** -0.5, enable_gqa=True)
        return out.squeeze(0).transpose(0, 1)

    return attend


def block_mask(batch: Batch, device: torch.device) -> BlockMask:
    """The row's BlockMask, equal to that of `create_block_mask`, without evaluating the dense mask."""
    first, stop = visible_intervals(batch.documents.numpy(), batch.whole_spans.numpy())
    blocks = visible_blocks(first, stop, BLOCK_TOKENS)
    first_key, stop_key = (torch.from_numpy(ends).to(device, non_blocking=True) for ends in (first, stop))

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (first_key[query] <= key) & (key < stop_key[query])

    partial, full = _block_lists(blocks.partial, device), _block_lists(blocks.full, device)
    lengths = (batch.row_tokens, batch.row_tokens)
    return BlockMask.from_kv_blocks(*partial, *full, BLOCK_SIZE=BLOCK_TOKENS, mask_mod=visible, seq_lengths=lengths)


def _block_lists(mask: NDArray[np.bool_], device: torch.device) -> tuple[Tensor, Tensor]:
    """For each row of blocks, their count [1, 1, n] and indexes [1, 1, n, n], int32, used ones first.

    A row [no, yes, yes] becomes count 2 and indexes [1, 2, 0]: FlexAttention reads the first two.
    """
    counts = mask.sum(axis=1, dtype=np.int32)
    numbers = np.argsort(~mask, axis=1, kind="stable").astype(np.int32)
    on_device = (torch.from_numpy(part).to(device, non_blocking=True)[None, None] for part in (counts, numbers))
    return next(on_device), next(on_device)


def compiled_flex(backend: str | Callable[..., object] = "inductor") -> Callable[..., Any]:
    """FlexAttention, compiled for each length that it meets. Pad rows to few lengths first (`inputs.padding`)."""
    compiled: Callable[..., Any] = torch.compile(  # type: ignore[call-overload] # its overloads lack the limit
        flex_attention, backend=backend, dynamic=False, recompile_limit=MAX_COMPILED
    )
    return compiled


@cache
def _compiled() -> Callable[..., Any]:
    return compiled_flex()
