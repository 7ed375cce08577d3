"""The text of an answer while its tokens are chosen: pieces that are certain, and where it stops.

Owns what may be shown of an unfinished answer. Characters of several tokens are shown once they are whole. The pieces,
end to end, are `tokenizer.decode(token_ids).strip()`, cut before the first stop string; so white space, and what might
be the beginning of a stop string, waits for what follows.

    stop string "END": after "the E" `the` is certain; after "the East", `the East`.

Time grows with the answer's length alone: each token is decoded once. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class AnswerText:
    """An answer as text, token by token."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        """An empty answer, which ends before the first of these strings."""
        from tokenizers.decoders import DecodeStream

        self.is_stopped = False
        """Whether a stop string was met: what follows it is not part of the answer."""
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self._stream = DecodeStream(skip_special_tokens=True)
        self._token_ids: list[int] = []
        self._decoded = ""
        self._waiting = ""
        self._has_begun = False

    @property
    def num_tokens(self) -> int:
        """Tokens of the answer so far."""
        return len(self._token_ids)

    def add(self, token_id: int) -> str:
        """Take the next token; what of the text has become certain, often nothing."""
        self._token_ids.append(token_id)
        return self._told(self._stream.step(self._tokenizer, token_id) or "")

    def end(self) -> str:
        """What is left of the text when no token follows."""
        whole: str = self._tokenizer.decode(self._token_ids)
        rest = whole.removeprefix(self._decoded) if whole.startswith(self._decoded) else ""
        told = self._told(rest)
        if self.is_stopped:
            return told
        left, self._waiting = self._waiting.rstrip(), ""
        return told + self._shown(left)

    def _told(self, text: str) -> str:
        if self.is_stopped:
            return ""
        self._decoded += text
        self._waiting += text
        found = [place for place in map(self._waiting.find, self._stops) if place >= 0]
        if found:
            self.is_stopped = True
            return self._shown(self._waiting[: min(found)].rstrip())
        num_begun = max((_overlap(self._waiting, stop) for stop in self._stops), default=0)
        certain = self._waiting[: len(self._waiting) - num_begun].rstrip()
        self._waiting = self._waiting[len(certain) :]
        return self._shown(certain)

    def _shown(self, text: str) -> str:
        if not self._has_begun:
            text = text.lstrip()
        self._has_begun = self._has_begun or bool(text)
        return text


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text with which a stop string begins.

    >>> _overlap("the E", "END")
    1
    """
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
