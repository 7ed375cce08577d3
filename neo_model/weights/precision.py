"""One precision for all tensors of a checkpoint, and its name in `config.json`.

A pre-Buffer in fp32 beside a language model in bf16 is no network: a product of both raises. Nothing is rounded: all
tensors get the narrowest precision that holds each of them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor


def common_dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The narrowest precision that holds every tensor: fp32 for bf16 beside fp32, and for bf16 beside fp16.

    Raises ValueError without any tensor.
    """
    if not tensors:
        raise ValueError("no tensors, so none has a precision")
    return reduce(torch.promote_types, {tensor.dtype for tensor in tensors.values()})


def unified(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors in their common precision; those that have it already are the same objects."""
    dtype = common_dtype(tensors)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """The word for it in `config.json`, as transformers writes and reads it: `bfloat16`."""
    return str(dtype).removeprefix("torch.")
