"""Real servers on loopback for tests, and the requests that tests send to them."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image
from tokenizers import Tokenizer

from neo_model.model import NeoModel
from pipelines.serving.prompts import RequestLimits
from pipelines.serving.server import address_of, bound_socket, serve
from pipelines.serving.session import ServingSession, cache_tokens


@dataclass(frozen=True)
class ServedHere:
    """A server in a thread of this process."""

    session: ServingSession
    address: str
    lines: list[str]
    """What it logged."""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and document of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, dict(answer.getheaders()), json.loads(content) if is_json else content

    def ask(self, messages: Any, **options: Any) -> tuple[int, dict[str, str], Any]:
        """Send a chat request."""
        body = {"model": self.session.served.name, "messages": messages, **options}
        return self.send("POST", "/v1/chat/completions", json.dumps(body).encode(), content_type="application/json")

    def content(self, messages: Any, **options: Any) -> str:
        """The answer to a chat request that succeeds."""
        status, _, document = self.ask(messages, **options)
        assert status == 200, document
        text: str = document["choices"][0]["message"]["content"]
        return text

    def begun(self, messages: Any, **options: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A stream whose first bytes have come; the caller closes the connection."""
        connection = self.posted(messages, stream=True, **options)
        return connection, connection.getresponse()

    def posted(self, messages: Any, **options: Any) -> http.client.HTTPConnection:
        """A connection on which a request was sent."""
        body = {"model": self.session.served.name, "messages": messages, **options}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        return connection


@contextmanager
def served_here(
    model: NeoModel, tokenizer: Tokenizer, *, max_sequences: int = 8, max_requests: int = 16, **limits: int
) -> Iterator[ServedHere]:
    """A server of this model."""
    stated = {"max_tokens": 4096, "max_new_tokens": 3000, "max_pictures": 6, "max_body_bytes": 2_000_000}
    session = ServingSession(
        "tiny",
        model,
        tokenizer,
        RequestLimits(**({"max_cache_tokens": cache_tokens(model)} | stated | limits)),
        max_sequences=max_sequences,
        max_requests=max_requests,
    )
    lines: list[str] = []
    bound, stop = bound_socket("127.0.0.1", 0, then=""), threading.Event()
    served = ServedHere(session, address_of(bound), lines)
    app = session.app(is_loopback=True, log=lines.append)
    with bound, session:
        thread = threading.Thread(
            target=serve, args=(app, bound), kwargs={"stopping": session.close, "say": lines.append, "stop": stop}
        )
        thread.start()
        try:
            until(lambda: answers(served))
            yield served
        finally:
            stop.set()
            thread.join(60)
    assert not thread.is_alive()


def answers(served: ServedHere) -> bool:
    try:
        return served.send("GET", "/health")[0] == 200
    except ConnectionRefusedError:
        return False


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.02)


def events(response: http.client.HTTPResponse) -> Iterator[Any]:
    """The documents of a stream of server-sent events, and `[DONE]` as None."""
    for line in response:
        if line.startswith(b"data: "):
            yield None if line == b"data: [DONE]\n" else json.loads(line[6:])


def data_uri(colour: tuple[int, int, int], size: tuple[int, int] = (96, 64), kind: str = "PNG") -> str:
    """A plain picture as a `data:` URI."""
    encoded = io.BytesIO()
    Image.new("RGB", size, colour).save(encoded, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"


def picture_part(uri: str, **options: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri, **options}}


def user(*parts: Any) -> dict[str, Any]:
    """A message of the user, of texts and parts."""
    return {
        "role": "user",
        "content": [{"type": "text", "text": one} if isinstance(one, str) else one for one in parts],
    }
