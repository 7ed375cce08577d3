"""`POST /v1/chat/completions`: one request from its first byte to its outcome.

Owns the order of things: let in, body read within limits, prepared in a thread, answered by the engine, sent whole or
as a stream. A client that goes away cancels its request wherever it is. Nothing here computes on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from pipelines.serving.admission import Admission, Outcome
from pipelines.serving.chat_request import ChatRequest, read_request
from pipelines.serving.completions import Completion, event_bytes
from pipelines.serving.engine import AnswerEngine, AnswerEvent, AnswerFailure, AnswerJob
from pipelines.serving.errors import ProtocolError
from pipelines.serving.prompts import PreparedRequest, RequestLimits, prepare

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from tokenizers import Tokenizer

    from neo_model.config import NeoConfig

BODY_SECONDS: Final = 60.0
"""How long a body may take to arrive."""
NUM_PREPARED: Final = 2
"""Requests whose pictures are decoded at the same time: bounds the memory of decoding."""
STREAM_HEADERS: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}


class ClientGoneError(Exception):
    """The client closed its connection."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """The model behind the server."""

    name: str
    """How clients name it."""
    tokenizer: Tokenizer
    config: NeoConfig
    engine: AnswerEngine
    limits: RequestLimits


class ChatEndpoint:
    """The endpoint, as an ASGI application."""

    def __init__(self, served: ServedModel, admission: Admission, log: Callable[[str], None]) -> None:
        """`log` is told a line for each request that ends."""
        self._served = served
        self._admission = admission
        self._log = log
        self._preparing = anyio.CapacityLimiter(NUM_PREPARED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began, request = time.monotonic(), Request(scope, receive)
        told, outcome = "", Outcome.FAILED
        try:
            with self._admission.entry(self._served.engine.lost):
                told = await self._answer(request, send)
            outcome = Outcome.ANSWERED
        except (ClientDisconnect, ClientGoneError):
            outcome, told = Outcome.CANCELLED, "the client went away"
        except ProtocolError as error:
            outcome, told = (Outcome.FAILED if error.status >= 500 else Outcome.REFUSED), str(error)
            await JSONResponse(error.document(), error.status, error.headers)(scope, receive, send)
        except StreamBrokenError as error:
            told = str(error)
        finally:
            self._admission.count(outcome, began)
            self._log(f"{outcome} after {time.monotonic() - began:.1f} s: {told or 'stopped'}")

    async def _answer(self, request: Request, send: Send) -> str:
        """Read, prepare and answer; a sentence for the log."""
        served = self._served
        asked = read_request(await self._body(request), max_answers=served.limits.max_answers)
        if asked.model != served.name:
            told = f"the model {asked.model[:100]!r} does not exist here: {served.name!r} does"
            raise ProtocolError(404, told, code="model_not_found", param="model")
        prepared = await anyio.to_thread.run_sync(
            prepare, asked, served.tokenizer, served.config, served.limits, limiter=self._preparing
        )
        completion = Completion(asked, served.name, len(prepared.prompt.token_ids))
        async with self._events(asked, prepared, request.receive) as events:
            if asked.is_streamed:
                await _stream(completion, events, send)
            else:
                async for event in events:
                    if isinstance(event, AnswerFailure):
                        raise ProtocolError(500, event.message, code="server_error")
                    completion.take(event)
                    if completion.is_whole:
                        break
                await JSONResponse(completion.document())(request.scope, request.receive, send)
        return f"{len(prepared.prompt.token_ids):,} tokens read, {completion.num_new_tokens:,} written"

    async def _body(self, request: Request) -> bytes:
        """The body, within the limit and in time."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            # A page of another origin can send other types without asking first.
            told = f"content-type {media_type[:60]!r}: send application/json"
            raise ProtocolError(415, told, code="unsupported_media_type")
        most, body = self._served.limits.max_body_bytes, bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > most:
                        told = f"the body has more than {most:,} bytes: send fewer or smaller pictures"
                        raise ProtocolError(413, told, code="request_too_large")
        except TimeoutError as error:
            told = f"the body did not arrive within {BODY_SECONDS:.0f} s"
            raise ProtocolError(408, told, code="request_timeout") from error
        return bytes(body)

    @asynccontextmanager
    async def _events(
        self, asked: ChatRequest, prepared: PreparedRequest, receive: Receive
    ) -> AsyncIterator[AsyncIterator[AnswerEvent]]:
        """What the engine tells of a request, which is cancelled at the end of the block if it is not finished.

        The iterator raises ClientGoneError when the client closes its connection.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[AnswerEvent | None] = asyncio.Queue()

        def tell(event: AnswerEvent | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, event)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            queue.put_nowait(None)

        async def events() -> AsyncIterator[AnswerEvent]:
            while (event := await queue.get()) is not None:
                yield event
            raise ClientGoneError

        job = AnswerJob(
            prompt=prepared.prompt,
            max_new_tokens=prepared.max_new_tokens,
            tell=tell,
            num_answers=asked.num_answers,
            sampling=asked.sampling,
            stops=asked.stops,
        )
        watching = asyncio.create_task(watch())
        self._served.engine.submit(job)
        try:
            yield events()
        finally:
            self._served.engine.cancel(job)
            watching.cancel()


class StreamBrokenError(Exception):
    """The model failed in the middle of a stream; the client was told in the stream."""


async def _stream(completion: Completion, events: AsyncIterator[AnswerEvent], send: Send) -> None:
    """Send the answers as server-sent events. An error after the first byte is an event, too."""
    headers = [(name.encode(), value.encode()) for name, value in STREAM_HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def put(data: bytes, *, is_last: bool = False) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": not is_last})

    await put(b"".join(completion.first_chunks()))
    async for event in events:
        if isinstance(event, AnswerFailure):
            error = ProtocolError(500, event.message, code="server_error")
            await put(event_bytes(error.document()), is_last=True)
            raise StreamBrokenError(event.message)
        completion.take(event)
        await put(completion.chunk(event))
        if completion.is_whole:
            break
    await put(b"".join(completion.last_chunks()), is_last=True)
