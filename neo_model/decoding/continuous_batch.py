"""Answers that are made side by side, each from the step at which it joins until it leaves: the batch of a server.

Owns the sequences of a batch, their cache and the room in it. A prompt goes through the layers alone, once, when it
joins; then each step adds a token to every sequence. Sequences are left-aligned and each has its own length, so that
any may join or leave between two steps:

    two prompts a b c and d, after three steps, before the first leaves:   slots  a b c x y z
                                                                                  d u v w . .   `.` is not visible

An answer depends on its prompt, its sampling and its number, and on no other sequence. Kernels may round sums of
batches of different sizes differently, in the last bit: only a choice between tokens that are equal to that bit can
turn out otherwise.

A step costs the layers once for all sequences, and attention over as many slots as the longest has. Memory is bounded
by the room, before anything is computed: rows times the slots that the longest may come to need.

B sequences, S slots of each, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.generate import Prompt, prefill
from neo_model.key_value_cache import MAX_CACHE_TOKENS, KeyValueCache
from neo_model.model import NeoModel
from neo_model.sampling import Sampler, Sampling

KeyT = TypeVar("KeyT")


class BatchFullError(ValueError):
    """There is no room for a prompt and its answers; the message gives all counts. Nothing was computed."""


@dataclass(kw_only=True)
class _Sequence(Generic[KeyT]):
    """A prompt and its answer so far."""

    key: KeyT
    sampler: Sampler | None
    """How the next token is chosen; None for the likeliest."""
    max_tokens: int
    """Slots that it may come to need: prompt and longest answer."""
    num_tokens: int
    """Tokens that are in the cache."""
    chosen: list[int] = field(default_factory=list)
    """The last token that was chosen, which is not in the cache yet."""


class ContinuousBatch(Generic[KeyT]):
    """Sequences that continue together. In turn: `join` while there is room, `choose`, `leave`, `advance`."""

    def __init__(self, model: NeoModel, *, max_cache_tokens: int = MAX_CACHE_TOKENS) -> None:
        """An empty batch, whose cache has at most `max_cache_tokens` slots over all sequences.

        Raises what the device raises where it is lost.
        """
        self.max_cache_tokens = max_cache_tokens
        self._model = model
        self._device = next(model.parameters()).device
        self._sequences: list[_Sequence[KeyT]] = []
        self._cache: KeyValueCache | None = None
        self._next_t = torch.zeros(0, dtype=torch.int64, device=self._device)
        self._logits: Tensor | None = None
        self.failures: dict[KeyT, Exception] = {}
        """Sequences for which the last `choose` could choose no token, and why: they must leave."""
        torch.ones(1, device=self._device).item()  # waits for the device, which tells here that it is lost

    @property
    def keys(self) -> list[KeyT]:
        """The sequences of the batch, by their keys, in the order of its rows."""
        return [sequence.key for sequence in self._sequences]

    @property
    def num_slots(self) -> int:
        """Slots of the cache that exist now, over all sequences."""
        return len(self._sequences) * self._cache.num_slots if self._cache else 0

    def has_room(self, max_tokens: int, num_answers: int = 1) -> bool:
        """Whether so many sequences of at most `max_tokens` tokens, prompt and answer together, may join now."""
        longest = max([max_tokens, *(sequence.max_tokens for sequence in self._sequences)])
        return (len(self._sequences) + num_answers) * longest <= self.max_cache_tokens

    def join(
        self, prompt: Prompt, keys: Sequence[KeyT], *, max_new_tokens: int, sampling: Sampling | None = None
    ) -> None:
        """Compute a prompt, to be answered once for each key; answers differ by their number in `keys`.

        The likeliest tokens are chosen unless `sampling` is given. Raises BatchFullError without room for them,
        ImageMismatchError if images and context tokens disagree, and what the device raises without memory for it;
        the batch is then what it was before.
        """
        num_tokens = len(prompt.token_ids)
        max_tokens = num_tokens + max_new_tokens
        if not self.has_room(max_tokens, len(keys)):
            raise BatchFullError(
                f"{len(keys)} x {max_tokens:,} tokens beside {len(self._sequences)} sequences: the cache holds "
                f"{self.max_cache_tokens:,} slots"
            )
        cache, next_t, logits = prefill(self._model, [prompt], num_tokens)
        joined = [
            _Sequence(
                key=key,
                sampler=Sampler(sampling, [number], [prompt.token_ids]) if sampling else None,
                max_tokens=max_tokens,
                num_tokens=num_tokens,
            )
            for number, key in enumerate(keys)
        ]
        all_logits = torch.cat([*([] if self._logits is None else [self._logits]), *[logits] * len(keys)])
        all_next_t = torch.cat([self._next_t, *[next_t] * len(keys)])
        if self._cache is None:
            cache.keep_rows(torch.zeros(len(keys), dtype=torch.int64, device=self._device))
            self._cache = cache
        else:
            self._cache.add_rows(cache, len(keys))
        self._logits, self._next_t = all_logits, all_next_t  # last, as nothing can fail any more
        self._sequences += joined

    def choose(self) -> list[tuple[KeyT, int]]:
        """The next token of each sequence, but for `failures`."""
        self.failures = {}
        if self._logits is None:
            return []
        chosen: list[tuple[KeyT, int]] = []
        likeliest: list[int] = self._logits.argmax(dim=-1).tolist()
        for row, (sequence, token) in enumerate(zip(self._sequences, likeliest, strict=True)):
            sequence.chosen = [token]
            try:
                if sequence.sampler is not None:
                    sequence.chosen = sequence.sampler.choose(self._logits[row : row + 1])
            except Exception as error:  # of this sequence alone
                self.failures[sequence.key] = error
            else:
                chosen.append((sequence.key, sequence.chosen[0]))
        return chosen

    @torch.no_grad()
    def leave(self, keys: Collection[KeyT]) -> None:
        """Take sequences out of the batch, and give back the memory that the others do not need."""
        rows = [row for row, sequence in enumerate(self._sequences) if sequence.key not in keys]
        if len(rows) == len(self._sequences):
            return
        self._sequences = [self._sequences[row] for row in rows]
        kept = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._next_t = self._next_t[kept]
        if not rows or self._cache is None or self._logits is None:
            self._cache = self._logits = None
            return
        self._logits = self._logits[kept]
        self._cache.keep_rows(kept, min(self._cache.num_slots, self._slots_wanted()))

    def forget(self) -> None:
        """Let go of all sequences without using the device; after it failed, nothing but a new batch is sound."""
        self._sequences, self._cache, self._logits = [], None, None

    @torch.no_grad()
    def advance(self) -> None:
        """Run the tokens that were chosen through the layers, which gives the logits of the next ones.

        A sequence may have at most as many tokens as it joined with room for.
        """
        if self._cache is None:
            return
        model, lengths = self._model, [sequence.num_tokens for sequence in self._sequences]
        needed = max(lengths) + 1
        if needed > self._cache.num_slots:
            self._cache.grow(self._slots_wanted())
        token_ids = [token for sequence in self._sequences for token in sequence.chosen]
        slots = torch.tensor(lengths, device=self._device)
        visible = torch.arange(needed, device=self._device) <= slots[:, None]
        hidden = model.embed_words(torch.tensor(token_ids, device=self._device))
        tables = model.rotary_tables(F.pad(self._next_t[:, None], (0, 2)), hidden.dtype)
        hidden = model.run_layers(hidden, tables, self._cache.appending_each(slots, visible[:, None]))
        self._logits = model.head_logits(model.normed(hidden))
        self._next_t = self._next_t + 1
        for sequence in self._sequences:
            sequence.num_tokens += 1

    def _slots_wanted(self) -> int:
        """Slots of each sequence that are worth having now: twice what the longest fills, and no more than it may."""
        filled = max(sequence.num_tokens for sequence in self._sequences)
        return min(2 * filled, max(sequence.max_tokens for sequence in self._sequences))
