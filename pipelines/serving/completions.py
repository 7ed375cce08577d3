"""The documents of an answer, as the chat protocol has them: a whole one, and the chunks of a stream.

Owns the spelling of these documents. An answer is collected from the events of the engine, in the same way for both
forms, so that a stream's pieces, end to end, are the content of the whole answer.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from pipelines.serving.chat_request import ChatRequest
from pipelines.serving.engine import AnswerEnd, AnswerPiece

STREAM_END = b"data: [DONE]\n\n"


class Completion:
    """One request's answers, as they come."""

    def __init__(self, request: ChatRequest, model_name: str, num_prompt_tokens: int) -> None:
        self._request = request
        self._model_name = model_name
        self._num_prompt_tokens = num_prompt_tokens
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._texts = ["" for _ in range(request.num_answers)]
        self._ends: dict[int, AnswerEnd] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all answers are finished."""
        return len(self._ends) == self._request.num_answers

    @property
    def num_new_tokens(self) -> int:
        """Tokens of the finished answers."""
        return sum(end.num_tokens for end in self._ends.values())

    def take(self, event: AnswerPiece | AnswerEnd) -> None:
        """Add what the engine told."""
        if isinstance(event, AnswerEnd):
            self._ends[event.choice] = event
        else:
            self._texts[event.choice] += event.text

    def document(self) -> dict[str, Any]:
        """All answers, once they are whole."""
        choices = [
            {
                "index": choice,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": self._ends[choice].reason,
            }
            for choice, text in enumerate(self._texts)
        ]
        return self._headed("chat.completion", choices) | {"usage": self._usage()}

    def first_chunks(self) -> Iterator[bytes]:
        """The chunks with which a stream begins: who speaks."""
        for choice in range(self._request.num_answers):
            yield self._chunk([_delta(choice, {"role": "assistant", "content": ""}, None)])

    def chunk(self, event: AnswerPiece | AnswerEnd) -> bytes:
        """What the engine told, as a chunk."""
        if isinstance(event, AnswerEnd):
            return self._chunk([_delta(event.choice, {}, event.reason)])
        return self._chunk([_delta(event.choice, {"content": event.text}, None)])

    def last_chunks(self) -> Iterator[bytes]:
        """The numbers of tokens, if they are asked for, and the end of the stream."""
        if self._request.has_usage:
            yield self._chunk([], self._usage())
        yield STREAM_END

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self._num_prompt_tokens,
            "completion_tokens": self.num_new_tokens,
            "total_tokens": self._num_prompt_tokens + self.num_new_tokens,
        }

    def _headed(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": self._created, "model": self._model_name}
        return head | {"choices": choices}

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        document = self._headed("chat.completion.chunk", choices)
        return event_bytes(document | ({"usage": usage} if self._request.has_usage else {}))


def event_bytes(document: dict[str, Any]) -> bytes:
    """A document as an event of a stream of server-sent events."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def _delta(choice: int, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
