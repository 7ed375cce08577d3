"""Serves the toy web on a free loopback port while a `with` block runs.

The server has no state: a path names the seed and the picture (`responses.py`). The caller maps `toy.invalid` to its
port.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from stages.toy_world.addresses import HOST
from stages.toy_world.responses import ScriptedResponse, response_to


@dataclass(frozen=True)
class ServedWorld:
    """The address of the running server; picklable."""

    ip: str
    port: int

    def locate(self, url: str) -> str:
        """The URL on loopback of a URL `http://toy.invalid/...`. Raises `ValueError` for any other host."""
        parts = urlsplit(url)
        if parts.hostname != HOST or parts.scheme != "http":
            raise ValueError(f"{url} is not on the toy web, whose URLs begin with http://{HOST}/")
        return parts._replace(netloc=f"{self.ip}:{self.port}").geturl()


@contextmanager
def serve() -> Iterator[ServedWorld]:
    """ScriptedResponse requests from threads of this process until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    accepting = threading.Thread(target=server.serve_forever, args=(0.05,), name="toy-web", daemon=True)
    accepting.start()
    try:
        yield ServedWorld(ip="127.0.0.1", port=server.server_port)
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        accepting.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.closing = threading.Event()
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients disconnect from stalled, dripping and endless responses on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        """Send the response of the path at its pace."""
        response = response_to(self.path)
        self.server.closing.wait(response.delay_seconds)
        self.wfile.write(self._head(response))
        if response.seconds_per_byte:
            self._drip(response)
        else:
            for _ in range(response.num_bodies):
                self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Print nothing: the downloader counts the responses."""

    def _head(self, response: ScriptedResponse) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines += [f"Content-Length: {len(response.body) * response.num_bodies}", "", ""]
        return "\r\n".join(lines).encode("ascii")

    def _drip(self, response: ScriptedResponse) -> None:
        for start in range(len(response.body)):
            if self.server.closing.wait(response.seconds_per_byte):
                return
            self.wfile.write(response.body[start : start + 1])
