"""Generation with a key-value cache: one prefill over packed prompts, then one token a step for each prompt.

Prompts, images included, go through the training forward as one packed row, and their keys and values fill the
cache. Prompts are right-aligned in the cache, so each decoding step writes one slot for all of them. The tokens are
those that a forward over the whole sequence would give.

    prompts a b c and d, two new tokens:   slots  a b c x y
                                                  . . d x y     `.` is not visible

B prompts of a batch, S slots of the cache, h query heads, g key-value heads, E and D query-key and value widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.backends import default_backend, prepare
from neo_model.attention.interface import Attend
from neo_model.inputs.batch import Document, pack
from neo_model.model import NeoModel
from neo_model.sampling import Sampler, Sampling

MAX_CACHE_TOKENS: Final = 65_536
"""Largest cache of a batch of prompts, in slots. At 2B in bfloat16 a slot takes 245 kB: 16 GB in all."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Token ids and images to continue."""

    token_ids: Sequence[int]
    """[l] token ids up to and including the opening of the assistant's turn."""
    patches: Sequence[NDArray[Any]] = ()
    """[n, 768] patches of each image, row-major."""
    grids: Sequence[tuple[int, int]] = field(default=())
    """(grid_h, grid_w) in patches of each image."""


@torch.no_grad()  # not `inference_mode`: training continues on the parameters that ZeRO-3 gathers here
def generate(
    model: NeoModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    sampling: Sampling | None = None,
    max_cache_tokens: int = MAX_CACHE_TOKENS,
) -> list[list[int]]:
    """Continue each prompt until one of `stop_ids` (left out of the answer) or `max_new_tokens`.

    Greedy unless `sampling` is given. An answer depends on the index of its prompt in the list and on the seed, not
    on the other prompts of its batch. Prompts are batched by length, in at most `max_cache_tokens` slots. Raises
    ImageMismatchError if images and context tokens of a prompt disagree.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    for members in _batches(prompts, max_new_tokens, max_cache_tokens):
        batch = _CachedBatch(model, [prompts[member] for member in members], max_new_tokens)
        sampler = Sampler(sampling, members, [prompts[member].token_ids for member in members])
        alive = list(members)
        for step in range(max_new_tokens):
            chosen = sampler.choose(batch.logits)
            unfinished = [row for row, token in enumerate(chosen) if token not in stop_ids]
            for row in unfinished:
                answers[alive[row]].append(chosen[row])
            if not unfinished or step + 1 == max_new_tokens:
                break
            if len(unfinished) < len(alive):
                alive = [alive[row] for row in unfinished]
                sampler.keep(unfinished)
                batch.keep(unfinished)
            batch.advance([chosen[row] for row in unfinished])
    return answers


class _CachedBatch:
    """A batch of prompts during decoding: its cache, and the logits [B, V] of the next tokens."""

    def __init__(self, model: NeoModel, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        lengths = np.array([len(prompt.token_ids) for prompt in prompts])
        self._filled = int(lengths.max())
        num_slots = self._filled + max_new_tokens
        starts = torch.from_numpy(self._filled - lengths).to(self._device)
        self._visible = torch.arange(num_slots, device=self._device) >= starts[:, None]
        self._prefill(prompts, lengths, num_slots)

    def _prefill(self, prompts: Sequence[Prompt], lengths: NDArray[np.int64], num_slots: int) -> None:
        """Run the packed prompts through the model once, and fill the caches."""
        model, config = self._model, self._model.config
        documents = [_document(prompt) for prompt in prompts]
        patches = [image for prompt in prompts for image in prompt.patches]
        batch = pack(documents, patches, image_context_id=config.image_context_id).to(self._device)
        hidden = model.embed(batch)
        attend = prepare(model.backend or default_backend(hidden.device, hidden.dtype), batch)
        slots = self._filled - lengths.repeat(lengths) + _offsets(lengths)
        rows = np.repeat(np.arange(len(prompts)), lengths)
        cells = tuple(torch.from_numpy(index).to(self._device) for index in (rows, slots))
        self._caches = [
            _LayerCache(
                hidden.new_zeros(len(prompts), num_slots, config.num_kv_heads, config.query_key_dim),
                hidden.new_zeros(len(prompts), num_slots, config.num_kv_heads, config.head_dim),
            )
            for _ in range(config.num_layers)
        ]
        attends = [cache.recording(attend, cells) for cache in self._caches]
        hidden = model.run_layers(hidden, model.rotary_tables(batch.positions, hidden.dtype), attends)
        last = torch.from_numpy(np.cumsum(lengths) - 1).to(self._device)
        self._next_t = batch.positions[last, 0] + 1
        self.logits = model.head_logits(model.normed(hidden[last]))

    def advance(self, token_ids: Sequence[int]) -> None:
        """Append one token to each unfinished prompt, and compute the logits of the next."""
        model = self._model
        hidden = model.embed_words(torch.tensor(token_ids, device=self._device))
        positions = F.pad(self._next_t[:, None], (0, 2))
        visible = self._visible[:, : self._filled + 1]
        attends = [cache.appending(self._filled, visible) for cache in self._caches]
        hidden = model.run_layers(hidden, model.rotary_tables(positions, hidden.dtype), attends)
        self._filled += 1
        self._next_t = self._next_t + 1
        self.logits = model.head_logits(model.normed(hidden))

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows of the batch; the other prompts are finished."""
        kept = torch.tensor(rows, device=self._device)
        self._visible, self._next_t = self._visible[kept], self._next_t[kept]
        for cache in self._caches:
            cache.keep(kept)


@dataclass
class _LayerCache:
    """Keys and values of one layer."""

    keys: Tensor
    """[B, S, g, E]."""
    values: Tensor
    """[B, S, g, D]."""

    def recording(self, attend: Attend, cells: tuple[Tensor, ...]) -> Attend:
        """Attention over packed prompts that also stores keys and values in `cells`: rows [L], slots [L]."""

        def attend_and_keep(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[cells], self.values[cells] = k, v
            return attend(q, k, v)

        return attend_and_keep

    def appending(self, slot: int, visible: Tensor) -> Attend:
        """Attention of one new token of each prompt, q [B, h, E], to the visible slots [B, S] up to `slot`."""

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[:, slot], self.values[:, slot] = k, v
            keys, values = (x[:, : slot + 1].transpose(1, 2) for x in (self.keys, self.values))
            queries = q.unflatten(1, (k.shape[1], -1))
            out = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=visible[:, None, None], scale=v.shape[-1] ** -0.5
            )
            return out.flatten(1, 2)

        return attend

    def keep(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.keys, self.values = self.keys[rows], self.values[rows]


def _document(prompt: Prompt) -> Document:
    return Document(token_ids=prompt.token_ids, supervised=[False] * len(prompt.token_ids), grids=prompt.grids)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 .. length - 1 for each length, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _batches(prompts: Sequence[Prompt], max_new_tokens: int, max_cache_tokens: int) -> Iterator[list[int]]:
    """Indexes of prompts for each batch, the longest prompts first, within `max_cache_tokens` slots."""
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number].token_ids))
    begin = 0
    while begin < len(order):
        num_slots = len(prompts[order[begin]].token_ids) + max_new_tokens
        end = begin + max(1, max_cache_tokens // num_slots)
        yield order[begin:end]
        begin = end
