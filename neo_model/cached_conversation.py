"""A conversation that grows and keeps its key-value cache: a film as a stream, and questions at any moment of it.

Text and images are appended; each append costs the forward of its own tokens. The tokens see everything before them,
an image sees itself both ways, and positions continue: T takes one step for each text token and for each image, H and
W begin again at 0. So logits are those of one forward over the whole conversation as one document. Frames do not see
later frames, which is why nothing that is in the cache ever has to be computed again.

The cache grows by doubling up to a limit. Forgetting the end of a conversation costs nothing: its slots are written
over.

n tokens of an append, S tokens of the conversation with them, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neo_model.attention.cached import query_shares
from neo_model.attention.visibility import visible_intervals
from neo_model.generate import Prompt
from neo_model.inputs.batch import pack
from neo_model.inputs.positions import ImageMismatchError, check_images, image_spans
from neo_model.key_value_cache import MAX_CACHE_TOKENS, KeyValueCache, cache_bytes_per_token
from neo_model.model import NeoModel
from neo_model.sampling import Sampler, Sampling

MAX_FORWARD_TOKENS: Final = 2_048
"""Tokens that go through the layers together, unless one image has more: bounds the memory of a long append."""
MIN_SLOTS: Final = 1_024
"""Slots that a cache begins with, unless its limit is lower."""


class CacheFullError(ValueError):
    """A conversation would have more tokens than its limit; the message gives all counts. Nothing was appended."""


class _Moment(NamedTuple):
    """Where a conversation ends: all that is needed to continue from there."""

    num_tokens: int
    next_t: int
    """T of the next token."""
    last_state: Tensor | None
    """[1, H] final state of the last token, which gives the logits of the next."""


class CachedConversation:
    """Tokens and images that went through the model, with their keys and values."""

    def __init__(self, model: NeoModel, *, max_tokens: int = MAX_CACHE_TOKENS) -> None:
        """An empty conversation, of at most `max_tokens` tokens with its images and answers."""
        self.max_tokens = max_tokens
        self._model = model
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        self._cache = KeyValueCache(model.config, 1, min(MIN_SLOTS, max_tokens), like=weight)
        self._token_ids: list[int] = []
        self._end = _Moment(0, 0, None)
        self._recorded: dict[int, Tensor] | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of the conversation, image tokens included."""
        return self._end.num_tokens

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens of the conversation, as one document."""
        return tuple(self._token_ids)

    @property
    def bytes_per_token(self) -> int:
        """Memory of one token in the cache, in bytes: 245,760 for NEO 2B in bfloat16."""
        return cache_bytes_per_token(self._model.config, self._dtype)

    @property
    def num_bytes(self) -> int:
        """Memory of the cache, slots that are still empty included, in bytes."""
        return self._cache.num_bytes

    @torch.no_grad()
    def next_logits(self) -> Tensor:
        """[V] logits of the token after the last. Raises ValueError for an empty conversation."""
        if self._end.last_state is None:
            raise ValueError("an empty conversation has no next token: append some first")
        return self._model.head_logits(self._end.last_state)[0]

    @torch.no_grad()  # not `inference_mode`: training continues on the same parameters
    def append(self, part: Prompt) -> None:
        """Append tokens and their images, whole images only.

        Raises CacheFullError beyond `max_tokens`, ImageMismatchError if images and context tokens disagree. After an
        error the conversation is what it was before.
        """
        token_ids = list(part.token_ids)
        if not token_ids:
            return
        spans = image_spans(np.asarray(token_ids, np.int64), self._model.config.image_context_id)
        check_images(spans, part.grids)
        if len(spans) and spans[0, 0] == 0 and self._token_ids[-1:] == token_ids[:1]:
            raise ImageMismatchError("an image directly after another: `</img><img>` must separate them")
        self._reserve(len(token_ids))
        before = self._end
        try:
            for piece in _pieces(part, spans):
                self._forward(piece)
        except BaseException:
            self._forget_after(before)
            raise
        self._token_ids += token_ids

    def ask(
        self,
        question: Prompt,
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        sampling: Sampling | None = None,
        closing_ids: Sequence[int] | None = None,
    ) -> list[int]:
        """The answer to a question, up to one of `stop_ids` (left out) or `max_new_tokens`; greedy unless `sampling`.

        The conversation then continues without question and answer. With `closing_ids` it keeps both, followed by
        these tokens: the end of the assistant's turn. Raises what `append` raises, when the answer meets the limit too.
        """
        before = self._end
        try:
            self.append(question)
            answer = _generated(self, max_new_tokens, stop_ids, Sampler(sampling, [0], [self._token_ids]))
            if closing_ids is not None:
                missing = answer[self.num_tokens - before.num_tokens - len(question.token_ids) :]
                self.append(Prompt(token_ids=[*missing, *closing_ids]))
                return answer
        except BaseException:
            self._forget_after(before)
            raise
        self._forget_after(before)
        return answer

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Whatever is appended inside is forgotten at the end."""
        before = self._end
        try:
            yield
        finally:
            self._forget_after(before)

    @contextmanager
    def attention_recorded(self) -> Iterator[dict[int, Tensor]]:
        """Inside, the attention of the last token of each forward is kept: its place in the conversation, and [S] the
        shares that all tokens up to it have, the mean over the heads of all layers, in fp32 on the CPU.

        The token at place p is chosen by the one at p - 1. Costs one query more in each layer of each forward.
        """
        self._recorded = {}
        try:
            yield self._recorded
        finally:
            self._recorded = None

    def _reserve(self, num_new: int) -> None:
        """Make room for `num_new` tokens after the last."""
        needed = self.num_tokens + num_new
        if needed > self.max_tokens:
            raise CacheFullError(
                f"{num_new:,} tokens more than the {self.num_tokens:,} of the conversation are {needed:,}; its cache "
                f"holds at most {self.max_tokens:,}, of {self.bytes_per_token:,} bytes each"
            )
        if needed > self._cache.num_slots:
            self._cache.grow(min(max(needed, 2 * self._cache.num_slots), self.max_tokens))

    def _forward(self, piece: Prompt) -> None:
        """Run tokens through the layers, after all that are in the cache."""
        model, filled = self._model, self.num_tokens
        batch = pack([piece.document()], piece.patches, image_context_id=model.config.image_context_id)
        _, stop = visible_intervals(batch.documents.numpy(), batch.image_spans.numpy())
        slots = torch.arange(filled + batch.num_tokens, device=self._device)
        visible = slots < torch.from_numpy(filled + stop).to(self._device)[:, None]  # [n, S]
        last_t = batch.positions[-1, 0]  # read on the host, before it moves
        batch = batch.to(self._device)
        positions = batch.positions + torch.tensor([self._end.next_t, 0, 0], device=self._device)
        hidden = model.embed(batch)
        tables = model.rotary_tables(positions, hidden.dtype)
        looked = _Looked(model.config.head_dim)
        attends = self._cache.appending(filled, visible[None], None if self._recorded is None else looked.look)
        hidden = model.run_layers(hidden, tables, attends)
        if self._recorded is not None:
            self._recorded[filled + batch.num_tokens - 1] = looked.mean()
        next_t = self._end.next_t + int(last_t) + 1
        self._end = _Moment(filled + batch.num_tokens, next_t, model.normed(hidden[-1:]))

    def _forget_after(self, moment: _Moment) -> None:
        """Go back to a moment before: what the cache holds after it is written over."""
        self._end = moment
        del self._token_ids[moment.num_tokens :]


class _Looked:
    """The attention of the last token of one forward, gathered layer by layer."""

    def __init__(self, head_dim: int) -> None:
        self._head_dim = head_dim
        self._shares: list[Tensor] = []

    def look(self, query: Tensor, keys: Tensor) -> None:
        """Add a layer."""
        self._shares.append(query_shares(query, keys, self._head_dim).mean(dim=0))

    def mean(self) -> Tensor:
        """[S] mean over the heads of all layers, on the CPU."""
        return torch.stack(self._shares).mean(dim=0).cpu()


def _generated(
    conversation: CachedConversation, max_new_tokens: int, stop_ids: Sequence[int], sampler: Sampler
) -> list[int]:
    """Generate; all tokens of the answer but the last are then in the cache."""
    answer: list[int] = []
    for _ in range(max_new_tokens):
        if answer:
            conversation.append(Prompt(token_ids=answer[-1:]))
        (chosen,) = sampler.choose(conversation.next_logits()[None])
        if chosen in stop_ids:
            break
        answer.append(chosen)
    return answer


def _pieces(part: Prompt, spans: NDArray[np.int64]) -> Iterator[Prompt]:
    """A part cut into pieces of at most `MAX_FORWARD_TOKENS` tokens, at text or between images [M, 2].

    Of 5 tokens at a time, text, an image of 4 tokens in `<img>` and `</img>`, text: 0 1 | 2 3 4 5 6 | 7 8 9.
    """
    token_ids = part.token_ids
    start = 0
    while start < len(token_ids):
        stop = min(start + MAX_FORWARD_TOKENS, len(token_ids))
        for first, end in spans.tolist():
            if first < stop < end:
                stop = first if first > start else end
        inside = slice(*np.searchsorted(spans[:, 0], (start, stop)))
        yield Prompt(token_ids=token_ids[start:stop], patches=part.patches[inside], grids=part.grids[inside])
        start = stop
