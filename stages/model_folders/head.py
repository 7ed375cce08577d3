"""Compares a stored output head with the embedding table, without holding either: both are streamed side by side."""

from __future__ import annotations

from typing import Final

from stages.model_folders.folder import ForeignFolder
from stages.model_folders.weights import FoundWeights

CHUNK_BYTES: Final = 16 * 2**20
"""Bytes of each tensor that are held at a time."""


def same_values(folder: ForeignFolder, weights: FoundWeights, one: str, other: str) -> bool:
    """Whether two tensors have the same dtype, shape and bytes. Reads up to the first difference, in chunks."""
    first, second = weights.entries[one], weights.entries[other]
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    with folder.open(weights.file_of[one]) as left, folder.open(weights.file_of[other]) as right:
        left.seek(first.begin)
        right.seek(second.begin)
        remaining = first.end - first.begin
        while remaining > 0:
            length = min(CHUNK_BYTES, remaining)
            if left.read(length) != right.read(length):
                return False
            remaining -= length
    return True
