"""A model that is being served: its engine, its limits and its admission, from start to the last count.

Owns how much memory the keys and values of all answers may take, and how the parts of this room are put together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from neo_model.key_value_cache import MAX_CACHE_TOKENS, cache_bytes_per_token
from pipelines.serving.admission import Admission
from pipelines.serving.app import health_document, make_app
from pipelines.serving.chat_endpoint import ServedModel
from pipelines.serving.engine import AnswerEngine
from pipelines.serving.prompts import RequestLimits
from stages.evaluation.answering import MAX_CACHE_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from tokenizers import Tokenizer

    from neo_model.model import NeoModel


def cache_tokens(model: NeoModel) -> int:
    """Tokens that the cache of all answers holds: 8 GiB of them, 35,000 of a 2B model in bfloat16, or 65,536."""
    bytes_per_token = cache_bytes_per_token(model.config, next(model.parameters()).dtype)
    return min(MAX_CACHE_TOKENS, MAX_CACHE_BYTES // bytes_per_token)


class ServingSession:
    """A context: its engine runs inside the block."""

    def __init__(
        self,
        name: str,
        model: NeoModel,
        tokenizer: Tokenizer,
        limits: RequestLimits,
        *,
        max_sequences: int,
        max_requests: int,
    ) -> None:
        """A conversation may have as many tokens as the cache holds, and a request as many answers as are made at once,
        whatever the limits let it have."""
        limits = replace(
            limits,
            max_tokens=min(limits.max_tokens, limits.max_cache_tokens),
            max_answers=min(limits.max_answers, max_sequences),
        )
        engine = AnswerEngine(model, tokenizer, max_cache_tokens=limits.max_cache_tokens, max_sequences=max_sequences)
        self.admission = Admission(max_requests=max_requests, max_sequences=max_sequences)
        self.served = ServedModel(name=name, tokenizer=tokenizer, config=model.config, engine=engine, limits=limits)

    def __enter__(self) -> Self:
        self.served.engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.served.engine.stop()

    def app(self, *, is_loopback: bool, log: Callable[[str], None]) -> ASGIApp:
        """The ASGI application."""
        return make_app(self.served, self.admission, is_loopback=is_loopback, log=log)

    def close(self) -> None:
        """Let nothing in any more."""
        self.admission.is_closed = True

    def document(self) -> dict[str, Any]:
        """The model's name, and how requests ended."""
        document = health_document(self.served, self.admission)
        return {"model": document["model"], "outcomes": document["outcomes"]}
