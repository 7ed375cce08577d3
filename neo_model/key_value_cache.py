"""The key-value cache: keys and values of tokens that went through the layers, and attention that writes and reads it.

Owns the tensors of all layers and how they grow. It knows slots, not tokens: what stands in a slot, and which query
sees it, is decided by those who use it (`generate.py`, `cached_conversation.py`).

B sequences, S slots of each, n new tokens of each, h query heads, g key-value heads, E and D query-key and value
widths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.cached import attend_to_cache
from neo_model.attention.interface import Attend
from neo_model.config import NeoConfig

MAX_CACHE_TOKENS: Final = 65_536
"""Largest cache of a batch of prompts or of a conversation, in slots. At 2B in bfloat16 a slot takes 246 kB: 16 GB in
all."""

Look: TypeAlias = Callable[[Tensor, Tensor], None]
"""Is shown a query [h, E] and the keys [S, g, E] of the slots that it sees."""


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

    def appending(self, slot: int, visible: Tensor, look: Look | None = None) -> list[Attend]:
        """For each layer: attention of the next n tokens of each sequence, which take the slots from `slot` on.

        Tokens come row by row, [B * n]; `visible` bool, [B, n, slot + n]: which slots each of them sees. `look` is
        shown the query of the last token of the first sequence, and the keys that it sees, in every layer.
        """
        return [layer.appending(slot, visible, look) for layer in self._layers]

    def appending_each(self, slots: Tensor, visible: Tensor) -> list[Attend]:
        """For each layer: attention of the next token of each sequence, [B], which takes a slot of its own.

        `slots` int64, [B]; `visible` bool, [B, 1, n]: which of the first n slots each of them sees.
        """
        return [layer.appending_each(slots, visible) for layer in self._layers]

    def keep_rows(self, rows: Tensor, num_slots: int | None = None) -> None:
        """Keep these sequences of the batch, and no other; of their slots the first `num_slots`, or all."""
        for layer in self._layers:
            layer.keys, layer.values = layer.keys[rows, :num_slots], layer.values[rows, :num_slots]

    def add_rows(self, other: KeyValueCache, num_copies: int = 1) -> None:
        """Add the sequences of another cache, each so often, and empty slots to the cache that has fewer.

        Layer by layer: only one layer exists twice at a time. Where there is no memory for all layers, those that were
        added to are cut back, and the cache is what it was before.
        """
        rows_before, slots_before = self._layers[0].keys.shape[:2]
        num_slots = max(slots_before, other.num_slots)
        try:
            for mine, theirs in zip(self._layers, other._layers, strict=True):
                mine.keys = _joined(mine.keys, theirs.keys, num_slots, num_copies)
                mine.values = _joined(mine.values, theirs.values, num_slots, num_copies)
        except BaseException:
            for layer in self._layers:
                layer.keys = layer.keys[:rows_before, :slots_before]
                layer.values = layer.values[:rows_before, :slots_before]
            raise

    def grow(self, num_slots: int) -> None:
        """Add empty slots until there are `num_slots`. Layer by layer: only one layer exists twice at a time."""
        for layer in self._layers:
            layer.keys, layer.values = _widened(layer.keys, num_slots), _widened(layer.values, num_slots)


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

    def appending(self, slot: int, visible: Tensor, look: Look | None) -> Attend:
        num_rows, num_new, num_visible = visible.shape

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (x.unflatten(0, (num_rows, num_new)) for x in (q, k, v))
            self.keys[:, slot:num_visible], self.values[:, slot:num_visible] = k, v
            out = attend_to_cache(q, self.keys[:, :num_visible], self.values[:, :num_visible], visible)
            if look is not None:
                look(q[0, -1], self.keys[0, :num_visible])
            return out.flatten(0, 1)

        return attend

    def appending_each(self, slots: Tensor, visible: Tensor) -> Attend:
        num_rows, _, num_visible = visible.shape
        rows = torch.arange(num_rows, device=slots.device)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[rows, slots], self.values[rows, slots] = k, v
            seen = self.keys[:, :num_visible], self.values[:, :num_visible]
            return attend_to_cache(q.unsqueeze(1), *seen, visible).squeeze(1)

        return attend


def _widened(stored: Tensor, num_slots: int) -> Tensor:
    """Keys or values [B, S, ...] with empty slots after the last, until there are `num_slots`."""
    missing = num_slots - stored.shape[1]
    return F.pad(stored, (0, 0, 0, 0, 0, missing)) if missing else stored


def _joined(stored: Tensor, added: Tensor, num_slots: int, num_copies: int) -> Tensor:
    """Keys or values of some sequences, then those of others so often, all in `num_slots` slots."""
    return torch.cat([_widened(stored, num_slots), *[_widened(added, num_slots)] * num_copies])


def cache_bytes_per_token(config: NeoConfig, dtype: torch.dtype) -> int:
    """Memory of one token's keys and values in all layers, in bytes.

    NEO 2B in bfloat16: 40 layers x 8 heads x (256 + 128) values x 2 bytes = 245,760.
    """
    return config.num_layers * config.num_kv_heads * (config.query_key_dim + config.head_dim) * dtype.itemsize
