"""Generation with a key-value cache: one prefill over packed prompts, then one token a step for each prompt.

Prompts, images included, go through the training forward as one packed row, and their keys and values fill the
cache. Prompts are right-aligned in the cache, so each decoding step writes one slot for all of them. The tokens are
those that a forward over the whole sequence would give.

    prompts a b c and d, two new tokens:   slots  a b c x y
                                                  . . d x y     `.` is not visible

A conversation that grows (frames of a film, questions between them) is `cached_conversation.py`; prompts that join and
leave a batch while it runs are `decoding/continuous_batch.py`.

B prompts of a batch, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.backends import prepare
from neo_model.inputs.batch import Document, pack
from neo_model.key_value_cache import MAX_CACHE_TOKENS, KeyValueCache
from neo_model.model import NeoModel
from neo_model.sampling import Sampler, Sampling


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Token ids and images to continue."""

    token_ids: Sequence[int]
    """[l] token ids up to and including the opening of the assistant's turn."""
    patches: Sequence[NDArray[Any]] = ()
    """[n, 768] patches of each image, row-major."""
    grids: Sequence[tuple[int, int]] = field(default=())
    """(grid_h, grid_w) in patches of each image."""

    def document(self) -> Document:
        """The prompt as a document, of which nothing is supervised."""
        return Document(token_ids=self.token_ids, supervised=[False] * len(self.token_ids), grids=self.grids)


@torch.no_grad()  # not `inference_mode`: training continues on the parameters that ZeRO-3 gathers here
def generate(
    model: NeoModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    sampling: Sampling | None = None,
    max_cache_tokens: int = MAX_CACHE_TOKENS,
    agree: Callable[[list[int]], list[int]] = list,
) -> list[list[int]]:
    """Continue each prompt until one of `stop_ids` (left out of the answer) or `max_new_tokens`.

    Greedy unless `sampling` is given. An answer depends on the index of its prompt in the list and on the seed, not
    on the other prompts of its batch. Prompts are batched by length, in at most `max_cache_tokens` slots, one prompt at
    least. `agree` is called with the next tokens of a batch and returns those that are taken: where ranks share a
    model, all must take the same, because their next collective calls depend on it. Raises ImageMismatchError if images
    and context tokens of a prompt disagree.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    for members in _batches(prompts, max_new_tokens, max_cache_tokens):
        batch = _CachedBatch(model, [prompts[member] for member in members], max_new_tokens)
        sampler = Sampler(sampling, members, [prompts[member].token_ids for member in members])
        alive = list(members)
        for step in range(max_new_tokens):
            chosen = agree(sampler.choose(batch.logits))
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
        self._cache, self._next_t, self.logits = prefill(model, prompts, num_slots)

    def advance(self, token_ids: Sequence[int]) -> None:
        """Append one token to each unfinished prompt, and compute the logits of the next."""
        model = self._model
        hidden = model.embed_words(torch.tensor(token_ids, device=self._device))
        positions = F.pad(self._next_t[:, None], (0, 2))
        attends = self._cache.appending(self._filled, self._visible[:, None, : self._filled + 1])
        hidden = model.run_layers(hidden, model.rotary_tables(positions, hidden.dtype), attends)
        self._filled += 1
        self._next_t = self._next_t + 1
        self.logits = model.head_logits(model.normed(hidden))

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows of the batch; the other prompts are finished."""
        kept = torch.tensor(rows, device=self._device)
        self._visible, self._next_t = self._visible[kept], self._next_t[kept]
        self._cache.keep_rows(kept)


class Prefilled(NamedTuple):
    """Prompts that went through the model: what continues from them."""

    cache: KeyValueCache
    """Keys and values of the prompts, right-aligned in as many slots as the longest has tokens."""
    next_t: Tensor
    """[B] T of the token after each prompt."""
    logits: Tensor
    """[B, V] logits of that token."""


@torch.no_grad()
def prefill(model: NeoModel, prompts: Sequence[Prompt], num_slots: int) -> Prefilled:
    """Run packed prompts through the model once, and fill a cache of `num_slots` slots for each.

    Raises ImageMismatchError if images and context tokens of a prompt disagree.
    """
    config, device = model.config, next(model.parameters()).device
    lengths = np.array([len(prompt.token_ids) for prompt in prompts])
    patches = [image for prompt in prompts for image in prompt.patches]
    batch = pack([prompt.document() for prompt in prompts], patches, image_context_id=config.image_context_id)
    batch = batch.to(device)
    hidden = model.embed(batch)
    attend = prepare(model.backend_for(hidden), batch)
    slots = lengths.max() - lengths.repeat(lengths) + _offsets(lengths)
    rows = np.repeat(np.arange(len(prompts)), lengths)
    cells = tuple(torch.from_numpy(index).to(device) for index in (rows, slots))
    cache = KeyValueCache(config, len(prompts), num_slots, like=hidden)
    tables = model.rotary_tables(batch.positions, hidden.dtype)
    hidden = model.run_layers(hidden, tables, cache.recording(attend, cells))
    last = torch.from_numpy(np.cumsum(lengths) - 1).to(device)
    return Prefilled(cache, batch.positions[last, 0] + 1, model.head_logits(model.normed(hidden[last])))


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
