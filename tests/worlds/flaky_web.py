"""A web server on this machine that fails at three of ten pictures until it is mended, and a URL table of its pictures.

Of ten pictures, one is answered with 503, one with nothing before the deadline, one with half of its bytes. Once `mend`
is called, it answers all.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FAILS = {3: "server_error", 5: "timeout", 8: "cut_short"}
"""Last digit of a picture's number to the reason that its row gets while the server is not mended."""
GONE = 9
"""Last digit of the numbers of pictures that do not exist."""


def picture(number: int) -> bytes:
    """The JPEG of a number: 96 px wide, of a colour and a height of its own."""
    encoded = io.BytesIO()
    colour = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
    Image.new("RGB", (96, 64 + number % 40), colour).save(encoded, "JPEG")
    return encoded.getvalue()


@dataclass
class FlakyWeb:
    """The server while it runs."""

    url: str
    is_mended: threading.Event = field(default_factory=threading.Event)
    asked: Counter[int] = field(default_factory=Counter)
    """Number of a picture to how often it was asked for."""

    def mend(self) -> None:
        """Let it answer all from now on."""
        self.is_mended.set()

    def table(self, path: Path, num_rows: int, first: int = 0) -> Path:
        """Write a URL table of pictures with a caption and two further columns; returns its path."""
        numbers = range(first, first + num_rows)
        columns = {
            "url": [f"{self.url}/{number:06d}.jpg" for number in numbers],
            "caption": [f"picture number {number} of the table" for number in numbers],
            "similarity": [0.2 + number % 10 / 50 for number in numbers],
            "tags": [["one", str(number)] for number in numbers],
        }
        pq.write_table(pa.table(columns), path)
        return path


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def flaky_web(fails: Mapping[int, str] = FAILS) -> Iterator[FlakyWeb]:
    """Serve the pictures while the block runs; until it is mended, with the failures of `fails`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = int(self.path.rpartition("/")[2].removesuffix(".jpg"))
            web.asked[number] += 1
            failure = None if web.is_mended.is_set() else fails.get(number % 10)
            if failure == "timeout":
                ended.wait(30)
                return
            status = 404 if number % 10 == GONE else 503 if failure == "server_error" else 200
            body = picture(number) if status == 200 else b"no"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if failure == "cut_short" else body)
            self.close_connection = self.close_connection or failure is not None

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    ended = threading.Event()
    server = _Server(("127.0.0.1", 0), Handler)
    web = FlakyWeb(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield web
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
