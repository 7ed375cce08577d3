"""A web on loopback that counts what it is asked: it gives some pictures broken or not at all, until it is mended."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.worlds.copied_pairs import WHOLE, picture

SECONDS_A_PICTURE = 0.05
"""So long the web thinks about each, so that a kill meets requests that are under way."""


@dataclass
class CountingWeb:
    """Serves pictures by number, some of them not at all, and counts the requests for each path."""

    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0
    is_mended: bool = False
    """Whether it gives all pictures that exist, whole."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{number}.jpg"

    def answer(self, path: str) -> tuple[int, bytes]:
        with self.lock:
            self.asked[path] += 1
        time.sleep(SECONDS_A_PICTURE)
        number = int(path.removeprefix("/").removesuffix(".jpg"))
        match number % 12:
            case 5:
                return 404, b"gone"
            case 7 if not self.is_mended:
                return 503, b"later"
            case 9 if not self.is_mended:
                return 200, cut_off(number)
        return 200, body_of(number)


def body_of(number: int) -> bytes:
    """The picture under a number: one photograph in many sizes, so that some repeat each other."""
    kind = "PNG" if number % 5 == 0 else "JPEG"
    return picture(f"{WHOLE[number * 7 % len(WHOLE)]} {70 + number % 40} {kind} {80 + number % 3}")


def cut_off(number: int) -> bytes:
    """The picture under a number, without its end."""
    return body_of(number)[:-300]


@contextmanager
def counting_web() -> Iterator[CountingWeb]:
    web = CountingWeb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = web.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is part of what is tested."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads, web.port = True, http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            http.shutdown()
            thread.join()
