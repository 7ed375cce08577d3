"""A chat about pictures and films: what is shown is kept in a cache, and questions are answered at any moment.

Shown content stands in the user's turn, as in training: pictures, or lines of frames (`inputs.video_text`), then the
question. What follows a question that is not remembered stands where the question stood.

A film as a stream has no line that tells its length, number of frames and rate: they are not known yet. What is shown
then is each frame's own line, `[00:01.00]:<image>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers.decoders import DecodeStream

from neo_model.cached_conversation import CachedConversation
from neo_model.generate import Prompt
from neo_model.inputs.conversation import special_ids
from neo_model.inputs.growing_chat import OpenTurn, answer_closing
from neo_model.inputs.positions import image_spans
from neo_model.key_value_cache import MAX_CACHE_TOKENS
from neo_model.model import NeoModel
from neo_model.sampling import Sampling

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PatchedImage: TypeAlias = tuple[NDArray[Any], tuple[int, int]]
"""Patches [n, 768] of one image and their grid (grid_h, grid_w), as `inputs.pictures.to_uint8_patches` gives them."""


class WatchedAnswer(NamedTuple):
    """An answer, and what of the images its n tokens attended to: the mean over the heads of all layers."""

    text: str
    pieces: tuple[str, ...]
    """[n] text of each token; empty where it ends within a character."""
    maps: tuple[NDArray[np.float32], ...]
    """[n, rows, columns] for each image: the share of a token's attention that each patch of 32 x 32 px has."""


class LiveChat:
    """A model, its tokenizer, and all that it was shown, in a cache."""

    def __init__(self, model: NeoModel, tokenizer: Tokenizer, *, max_tokens: int = MAX_CACHE_TOKENS) -> None:
        """A chat in which nothing was said, of at most `max_tokens` tokens."""
        self.conversation = CachedConversation(model, max_tokens=max_tokens)
        self.config = model.config
        self._tokenizer = tokenizer
        self._turn = OpenTurn()
        self._grids: list[tuple[int, int]] = []
        ids = special_ids(tokenizer)
        self._stop_ids = (ids.turn_end, ids.end_of_text)

    def show(self, content: str, images: Sequence[PatchedImage] = ()) -> None:
        """Add content to the user's turn, with an `<image>` for each image. Only the new tokens are computed.

        Raises ConversationError if they differ in number, CacheFullError beyond `max_tokens`; the chat is then what it
        was before.
        """
        counts = [grid_h * grid_w // 4 for _, (grid_h, grid_w) in images]
        token_ids, turn = self._turn.added(self._tokenizer, content, counts)
        patches, grids = [patches for patches, _ in images], [grid for _, grid in images]
        self.conversation.append(Prompt(token_ids=token_ids, patches=patches, grids=grids))
        self._turn = turn
        self._grids += grids

    def ask(
        self, question: str, *, max_new_tokens: int, sampling: Sampling | None = None, remember: bool = False
    ) -> str:
        """The answer to a question about what was shown so far, greedy unless `sampling` is given.

        With `remember` it stays in the chat with its answer, and what is shown later begins a new turn. Raises
        CacheFullError if question and answer do not fit; the chat is then what it was before.
        """
        text: str = self._tokenizer.decode(self._answered(question, max_new_tokens, sampling, remember=remember))
        return text.strip()

    def ask_watched(
        self, question: str, *, max_new_tokens: int, sampling: Sampling | None = None, remember: bool = False
    ) -> WatchedAnswer:
        """As `ask`, with the attention that each token of the answer paid to the images when it was chosen."""
        shown = np.asarray(self.conversation.token_ids, np.int64)
        last = len(shown) + len(self._turn.asked(self._tokenizer, question)) - 1  # it chooses the first token
        with self.conversation.attention_recorded() as recorded:
            answer = self._answered(question, max_new_tokens, sampling, remember=remember)
        shares = [recorded[last + number].numpy() for number in range(len(answer))]
        stream = DecodeStream(skip_special_tokens=True)
        return WatchedAnswer(
            text=self._tokenizer.decode(answer).strip(),
            pieces=tuple(stream.step(self._tokenizer, token) or "" for token in answer),
            maps=tuple(
                np.array([one[start:end] for one in shares], np.float32).reshape(-1, grid_h // 2, grid_w // 2)
                for (start, end), (grid_h, grid_w) in zip(
                    image_spans(shown, self.config.image_context_id).tolist(), self._grids, strict=True
                )
            ),
        )

    def _answered(self, question: str, max_new_tokens: int, sampling: Sampling | None, *, remember: bool) -> list[int]:
        """The tokens of an answer."""
        asked = self._turn.asked(self._tokenizer, question)
        answer = self.conversation.ask(
            Prompt(token_ids=asked),
            max_new_tokens=max_new_tokens,
            stop_ids=self._stop_ids,
            sampling=sampling,
            closing_ids=answer_closing(self._tokenizer) if remember else None,
        )
        if remember:
            self._turn = OpenTurn()
        return answer
