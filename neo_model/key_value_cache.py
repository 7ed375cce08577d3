"""The key-value cache: keys and values of tokens that went through the layers, and attention that writes and reads it.

Owns the tensors of all layers and how they grow. It knows slots, not tokens: what stands in a slot, and which query
sees it, is decided by those who use it (`generate.py`, `cached_conversation.py`).

B sequences, S slots of each, n new tokens of each, h query heads, g key-value heads, E and D query-key and value
widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.cached import attend_to_cache
from neo_model.attention.interface import Attend
from neo_model.config import NeoConfig

MAX_CACHE_TOKENS: Final = 65_536
"""Largest cache of a batch of prompts or of a conversation, in slots. At 2B in bfloat16 a slot takes 246 kB: 16 GB in
all."""


class KeyValueCache:
    """Keys and values of B sequences in S slots each, for every layer."""

    def __init__(self, config: NeoConfig, num_rows: int, num_slots: int, like: Tensor) -> None:
        """Zeros, with the device and the dtype of `like`."""
        self._layers = [
            _LayerCache(
                like.new_zeros(num_rows, num_slots, config.num_kv_heads, config.query_key_dim),
                like.new_zeros(num_rows, num_slots, config.num_kv_heads, config.head_dim),
            )
            for _ in range(config.num_layers)
        ]

    @property
    def num_slots(self) -> int:
        """Slots S of each sequence."""
        return self._layers[0].keys.shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory of all keys and values, filled or not, in bytes."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers)

    def recording(self, attend: Attend, cells: tuple[Tensor, ...]) -> list[Attend]:
        """For each layer: `attend` over packed tokens [L], whose keys and values are stored in `cells` as well.

        `cells` are the row [L] and the slot [L] of each token.
        """
        return [layer.recording(attend, cells) for layer in self._layers]

    def appending(self, slot: int, visible: Tensor) -> list[Attend]:
        """For each layer: attention of the next n tokens of each sequence, which take the slots from `slot` on.

        Tokens come row by row, [B * n]; `visible` bool, [B, n, slot + n]: which slots each of them sees.
        """
        return [layer.appending(slot, visible) for layer in self._layers]

    def keep_rows(self, rows: Tensor) -> None:
        """Keep these sequences of the batch, and no other."""
        for layer in self._layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def grow(self, num_slots: int) -> None:
        """Add empty slots until there are `num_slots`. Layer by layer: only one layer exists twice at a time."""
        more = (0, 0, 0, 0, 0, num_slots - self.num_slots)
        for layer in self._layers:
            layer.keys = F.pad(layer.keys, more)
            layer.values = F.pad(layer.values, more)


@dataclass
class _LayerCache:
    """Keys and values of one layer."""

    keys: Tensor
    """[B, S, g, E]."""
    values: Tensor
    """[B, S, g, D]."""

    def recording(self, attend: Attend, cells: tuple[Tensor, ...]) -> Attend:
        def attend_and_keep(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[cells], self.values[cells] = k, v
            return attend(q, k, v)

        return attend_and_keep

    def appending(self, slot: int, visible: Tensor) -> Attend:
        num_rows, num_new, num_visible = visible.shape

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (x.unflatten(0, (num_rows, num_new)) for x in (q, k, v))
            self.keys[:, slot:num_visible], self.values[:, slot:num_visible] = k, v
            out = attend_to_cache(q, self.keys[:, :num_visible], self.values[:, :num_visible], visible)
            return out.flatten(0, 1)

        return attend


def cache_bytes_per_token(config: NeoConfig, dtype: torch.dtype) -> int:
    """Memory of one token's keys and values in all layers, in bytes.

    NEO 2B in bfloat16: 40 layers x 8 heads x (256 + 128) values x 2 bytes = 245,760.
    """
    return config.num_layers * config.num_kv_heads * (config.query_key_dim + config.head_dim) * dtype.itemsize
