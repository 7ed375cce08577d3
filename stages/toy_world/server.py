"""Serve the toy web on a free loopback port while a `with` block runs.

The server knows no world: a path says which seed and picture is meant (`answers.py`). Its port is nobody's business
but the caller's, who maps `toy.invalid` to it.
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
    """The toy web while it is served. Small, and pickles."""

    ip: str
    port: int

    def locate(self, url: str) -> str:
        """The URL at which `http://toy.invalid/...` really is. Raises `ValueError` for any other host."""
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

    def __init__(self, place: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.closing = threading.Event()
        super().__init__(place, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up on stalled, dripping and endless answers; that is what these are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        """Send the answer of the path, at its pace."""
        given = response_to(self.path)
        self.server.closing.wait(given.delay_seconds)
        self.wfile.write(self._head(given))
        if given.seconds_per_byte:
            self._drip(given)
        else:
            for _ in range(given.num_bodies):
                self.wfile.write(given.body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the downloader counts what it was answered."""

    def _head(self, given: ScriptedResponse) -> bytes:
        lines = [f"HTTP/1.1 {given.status} {HTTPStatus(given.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in given.headers]
        lines += [f"Content-Length: {len(given.body) * given.num_bodies}", "", ""]
        return "\r\n".join(lines).encode("ascii")

    def _drip(self, given: ScriptedResponse) -> None:
        for start in range(len(given.body)):
            if self.server.closing.wait(given.seconds_per_byte):
                return
            self.wfile.write(given.body[start : start + 1])
