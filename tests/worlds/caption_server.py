"""An OpenAI-compatible endpoint on loopback that answers from a script, with the errors of the real ones."""

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from PIL import Image

Answer: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


def answered(content: Any, finish: str = "stop", **message: Any) -> Answer:
    """A chat completion with this content."""
    body = {"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}]}
    return 200, {}, json.dumps(body).encode()


def failed(status: int, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, b'{"error": {"message": "no"}}'


@dataclass
class CaptionServer:
    """What was asked, and what is answered: `script` gets the words of a request and how often they came before."""

    script: Callable[[str, int], Answer]
    address: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by the words beside their picture."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    hello: Answer = field(default_factory=lambda: answered("Hello!"))
    """What is answered to words without a picture."""
    num_greetings: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Sizes of the pictures that came."""
    num_in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, key: str | None, body: dict[str, Any]) -> Answer:
        content = body["messages"][0]["content"]
        if isinstance(content, str):
            self.num_greetings += 1
            return self.hello
        picture, text = content
        data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
        with self.lock:
            before = self.asked[text["text"]]
            self.asked[text["text"]] += 1
            self.bodies.append(body)
            self.keys.add(key)
            self.sizes.add(Image.open(io.BytesIO(data)).size)
        return self.script(text["text"], before)


@contextmanager
def caption_server(script: Callable[[str, int], Answer]) -> Iterator[CaptionServer]:
    server = CaptionServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with server.lock:
                server.num_in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.num_in_flight)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            status, headers, data = server.answer(self.headers.get("Authorization"), body)
            with server.lock:
                server.num_in_flight -= 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not wait for its answer is part of what is tested."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        server.address = f"http://127.0.0.1:{http.server_address[1]}/v1"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
