"""A hostile web on loopback: raw sockets that send whatever a test says, and stop when the test does."""

import io
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from stages.commit.draft import Draft

HOST = "bad.invalid"
Script = Callable[[socket.socket, "HostileWeb"], None]


@dataclass
class HostileWeb:
    """Answers by script: path to what is done with the connection."""

    port: int
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for."""
    requests: dict[str, bytes] = field(default_factory=dict)
    """The last request for each path."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def routes(self) -> dict[str, tuple[str, int]]:
        return {HOST: ("127.0.0.1", self.port)}

    def says(self, path: str, answer: bytes) -> str:
        """Answer `path` with these very bytes; returns its URL."""
        return self.does(path, lambda connection, _: connection.sendall(answer))

    def does(self, path: str, script: Script) -> str:
        self.scripts[path] = script
        return f"http://{HOST}{path}"

    def serve(self, listener: socket.socket) -> None:
        while not self.closing.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            request = connection.recv(65536)
            path = request.split()[1].decode() if request.startswith(b"GET ") else "/"
            self.asked[path] += 1
            self.requests[path] = request
            self.scripts[path](connection, self)


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An HTTP/1.1 answer; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def encoded(image: Image.Image, encoding: str = "JPEG", **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, encoding, **options)
    return written.getvalue()


@pytest.fixture
def web() -> Iterator[HostileWeb]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        hostile = HostileWeb(port=listener.getsockname()[1])
        accepting = threading.Thread(target=hostile.serve, args=(listener,), daemon=True)
        accepting.start()
        yield hostile
        hostile.closing.set()
        accepting.join()


@pytest.fixture
def http_answer() -> Callable[..., bytes]:
    return answer


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Encode an image: `picture(image, "PNG", **options)`."""
    return encoded


@pytest.fixture
def photo() -> bytes:
    """An ordinary JPEG, 96 x 64 px."""
    return encoded(Image.effect_noise((96, 64), 60).convert("RGB"), quality=90)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    (tmp_path / "draft").mkdir()
    return Draft(scratch=tmp_path / "draft", report=lambda _: None)
