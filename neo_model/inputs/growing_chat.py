"""The tokens of a chat that is written piece by piece: pictures as they come, then a question, then the next pictures.

The pieces, end to end, are the ids that `encode_prompt` gives for the finished messages. Text between two pictures is
tokenised whole, so text after the last picture waits until it is known what follows. Imports neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, ConversationError, DocumentWriter

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True)
class OpenTurn:
    """Where a chat stands: within a turn of the user, or before one. A turn begins with its first tokens."""

    has_begun: bool = False
    """Whether tokens of the turn were written."""
    waiting_text: str = ""
    """Text after the last picture, not yet tokenised."""

    def added(
        self, tokenizer: Tokenizer, content: str, image_token_counts: Sequence[int] = ()
    ) -> tuple[list[int], OpenTurn]:
        """The tokens that more content adds, up to its last `<image>`, and the turn with it.

        Every `<image>` is a picture. Raises ConversationError unless there is a count for each.
        """
        *before, after = content.split(IMAGE_PLACEHOLDER)
        if len(before) != len(image_token_counts):
            raise ConversationError(
                f"{len(before)} {IMAGE_PLACEHOLDER} placeholders for {len(image_token_counts)} images"
            )
        if not before:
            return [], OpenTurn(has_begun=self.has_begun, waiting_text=self.waiting_text + content)
        writer = self._writer(tokenizer, image_token_counts)
        for text in (self.waiting_text + before[0], *before[1:]):
            writer.text(text)
            writer.image()
        return writer.document().token_ids, OpenTurn(has_begun=True, waiting_text=after)

    def asked(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """The tokens of a question that ends the turn, and of the opening of the assistant's.

        An `<image>` in it is text.
        """
        writer = self._writer(tokenizer)
        writer.text(self.waiting_text + question)
        writer.closing()
        writer.opening("assistant")
        return writer.document().token_ids

    def _writer(self, tokenizer: Tokenizer, image_token_counts: Sequence[int] = ()) -> DocumentWriter:
        writer = DocumentWriter(tokenizer, image_token_counts)
        if not self.has_begun:
            writer.opening("user")
        return writer


def answer_closing(tokenizer: Tokenizer) -> list[int]:
    """The tokens after an answer that stays in the chat; the next turn of the user is a new one."""
    writer = DocumentWriter(tokenizer, ())
    writer.closing()
    return writer.document().token_ids
