"""Asks an OpenAI-compatible endpoint about many pictures at once: bounded, with retries, and with patience.

Owns connections, concurrency, retries and when to give up; `questions.py` knows what is asked and what the answers say.
The address is the user's own, so it may be private, unlike those of downloads. What the endpoint sends is bounded:
an answer beyond `MAX_ANSWER_BYTES` is unreadable, and redirects are not followed, because a key travels along.

In memory are the pictures of `num_at_once` requests, however many are asked.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stages.captioning.reasons import CaptionReason
from stages.contract import StageError
from stages.surfaces.credentials import without_credentials

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES: Final = 2**20
"""Longest answer that is read, in bytes."""
MAX_WAIT_SECONDS: Final = 120.0
"""Longest time to wait before a retry, whatever the endpoint asks for."""
FAILED_IN_A_ROW: Final = 32
"""Requests that may fail at all their tries one after the other, before the endpoint is taken to be down."""
MAX_SAID_CHARS: Final = 500
"""Characters of what an endpoint says that are shown in an error."""
_REFUSING_ALL: Final = {401: "the key is missing or wrong", 403: "access is denied", 404: "no such address or model"}
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where is asked, and how patiently."""

    address: str
    """Address that `/chat/completions` follows, such as `http://127.0.0.1:8000/v1`."""
    key: str | None
    """Key that is sent as a bearer token; None sends none."""
    num_at_once: int
    """Requests in flight."""
    num_tries: int
    """Tries of one request."""
    timeout_seconds: float
    """Longest time of one try."""
    first_wait_seconds: float = 1.0
    """Mean wait before the second try; it doubles from try to try."""

    def __repr__(self) -> str:
        return f"Endpoint({self.address})"


@dataclass(frozen=True)
class CaptionQuestion:
    """One request that is made when its turn comes."""

    key: bytes
    """Name of the answer."""
    body: Callable[[], dict[str, Any] | CaptionReason]
    """Makes the body, or says why there is none; called in a thread."""


class _Line:
    """The requests of one part on their way: what they share."""

    def __init__(self, endpoint: Endpoint, client: aiohttp.ClientSession) -> None:
        self.endpoint = endpoint
        self.client = client
        self.paused_until = 0.0
        self.num_failed_in_a_row = 0
        self.model_failed = ""
        """The model that was last asked for in vain."""

    async def ask(self, question: CaptionQuestion) -> bytes | CaptionReason:
        """The answer to one question, after as many tries as it takes and may take. Raises `StageError`."""
        body = await asyncio.to_thread(question.body)
        if isinstance(body, CaptionReason):
            return body
        answer = await self._answer(body)
        if isinstance(answer, bytes) or not answer.retriable:
            self.num_failed_in_a_row = 0
            return answer
        self.model_failed = str(body.get("model", ""))
        self.num_failed_in_a_row += 1
        if self.num_failed_in_a_row >= FAILED_IN_A_ROW:
            raise self._down(answer)
        return answer

    async def check_up(self) -> None:
        """Raise `StageError` where the last pictures failed, and words without a picture fail too.

        For an endpoint that dies with too few pictures left for their number to say so. A picture at which a sound
        endpoint fails stops nothing: it is greeted then, and answers.
        """
        if not self.num_failed_in_a_row:
            return
        greeting = {"model": self.model_failed, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        answer = await self._answer(greeting)
        if answer in (CaptionReason.UNREACHABLE, CaptionReason.SERVER_ERROR):
            raise self._down(answer)

    async def _answer(self, body: dict[str, Any]) -> bytes | CaptionReason:
        """The answer to one request, or why its last try got none."""
        reason = CaptionReason.UNREACHABLE
        for number in range(self.endpoint.num_tries):
            if number:
                await asyncio.sleep(random.uniform(0, 2) * self.endpoint.first_wait_seconds * 2 ** (number - 1))
            while (wait := self.paused_until - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait)
            answer = await self._try(body)
            if isinstance(answer, bytes) or not answer.retriable:
                return answer
            reason = answer
        return reason

    async def _try(self, body: dict[str, Any]) -> bytes | CaptionReason:
        import aiohttp

        address = f"{self.endpoint.address.rstrip('/')}/chat/completions"
        try:
            async with self.client.post(address, json=body, allow_redirects=False) as response:
                if response.status in _REFUSING_ALL:
                    said = self._without_key(await _bounded(response.content) or b"")
                    raise StageError(f"{address} refuses all: {_REFUSING_ALL[response.status]} ({said})")
                if response.status == _TOO_MANY:
                    self._pause(response.headers.get("Retry-After", ""))
                    return CaptionReason.RATE_LIMITED
                if response.status >= _SERVER_ERROR:
                    return CaptionReason.SERVER_ERROR
                if response.status != 200:
                    return CaptionReason.REQUEST_REJECTED
                data = await _bounded(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return CaptionReason.UNREACHABLE
        return data if data is not None and _is_json(data) else CaptionReason.ANSWER_UNREADABLE

    def _pause(self, retry_after: str) -> None:
        """Let all requests wait as long as the endpoint asks for, in seconds; a date is not read."""
        try:
            seconds = min(max(0.0, float(retry_after)), MAX_WAIT_SECONDS)
        except ValueError:
            return
        self.paused_until = max(self.paused_until, asyncio.get_running_loop().time() + seconds)

    def _without_key(self, said: bytes) -> str:
        """The beginning of what the endpoint said; its key, which some repeat, is taken out of the whole first."""
        text = said.decode(errors="replace")
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "<key>")
        return without_credentials(text)[:MAX_SAID_CHARS].strip()

    def _down(self, reason: CaptionReason) -> StageError:
        number = self.num_failed_in_a_row
        failed = f"{number} pictures in a row" if number > 1 else "the last picture"
        return StageError(
            f"{self.endpoint.address} failed {failed}, {self.endpoint.num_tries} tries each, the last one as "
            f"{reason.value}: it is taken to be down. Run again when it is up: recorded parts stay, and answers of "
            "this one are in this machine's cache"
        )


async def _bounded(stream: aiohttp.StreamReader) -> bytes | None:
    """All that a stream has, or None where that is too much."""
    data = b""
    async for piece in stream.iter_chunked(65_536):
        data += piece
        if len(data) > MAX_ANSWER_BYTES:
            return None
    return data


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


@asynccontextmanager
async def _client(endpoint: Endpoint) -> AsyncIterator[aiohttp.ClientSession]:
    import aiohttp

    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    timeout = aiohttp.ClientTimeout(total=endpoint.timeout_seconds)
    connector = aiohttp.TCPConnector(limit=endpoint.num_at_once)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as client:
        yield client


def ask_all(
    endpoint: Endpoint, questions: Iterable[CaptionQuestion], take: Callable[[bytes, bytes | CaptionReason], None]
) -> None:
    """Ask all questions, `num_at_once` at a time, and give the key and the answer of each to `take` as it comes.

    An answer is the body of an HTTP answer that is a JSON object, or why there is none. Raises `StageError` where the
    endpoint refuses all, or is down.
    """
    asyncio.run(_ask_all(endpoint, iter(questions), take))


async def _ask_all(
    endpoint: Endpoint, questions: Iterator[CaptionQuestion], take: Callable[[bytes, bytes | CaptionReason], None]
) -> None:
    async with _client(endpoint) as client:
        line = _Line(endpoint, client)

        async def work() -> None:
            for question in questions:
                take(question.key, await line.ask(question))

        # Workers share one iterator. The first error ends the others, and is the one that is raised.
        workers = [asyncio.create_task(work()) for _ in range(endpoint.num_at_once)]
        try:
            await asyncio.gather(*workers)
            await line.check_up()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
