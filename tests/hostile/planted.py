"""Distinct secrets at every door of a small real run, and where any of them is found afterwards.

The run downloads a URL table from a bucket, and asks an endpoint for captions: a secret stands in the environment of
each, in URLs of the table, in an address that a server redirects to, and in answers that repeat what was sent.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from stages.store.store import Store
from tests.worlds.flaky_web import picture

PIPELINE = """
from stages.caption_pairs import CaptionPairsRecipe, caption_pairs
from stages.contract import Source
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs


def planted():
    fetched = DownloadPairsRecipe(
        source=Source("urls"), allow_hosts=("127.0.0.1",), num_tries=1, num_urls_per_part=4, max_share_lost=1.0,
        accept_unreachable=True,
    )
    asked = CaptionPairsRecipe(
        model="toy-vl", prompt="Write better: {caption}", endpoint="ENDPOINT", key_variable="OPENAI_API_KEY",
        num_tries=1, max_share_lost=1.0,
    )
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), download_pairs.bind("pairs", fetched))
    return caption_pairs.bind("captions", asked, kept)
"""


def secret(door: str) -> str:
    """A text that stands nowhere but where it was planted, the same in each run."""
    return f"zq{hashlib.sha256(door.encode()).hexdigest()[:14]}"


ENVIRONMENT = {
    name: secret(name)
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OPENAI_API_KEY",
        "MLFLOW_TRACKING_PASSWORD", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_API_KEY", "WANDB_API_KEY", "NEO_RAY_LOGIN",
        "NEO_SIGN_PASSWORD",
    )
} | {
    name: f"http://me:{secret(name)}@127.0.0.1:9" for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
}  # fmt: skip
"""Variables with credentials. The proxies answer nothing, and are not to be asked about loopback."""
NO_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
IN_URLS = ("url user", "url signature", "url key", "url failed", "url refused", "url sas")
"""What stands in URLs of the table: they are data, and stay in the tables of the store."""
OF_SERVERS = ("redirect", "redirect token")
"""What servers answer with."""


def planted() -> dict[str, str]:
    """Door to secret, of a whole run."""
    doors = {name: secret(name) for name in (*ENVIRONMENT, *IN_URLS, *OF_SERVERS)}
    return {**doors, "basic proxy": base64.b64encode(f"me:{secret('HTTPS_PROXY')}".encode()).decode()}


def urls(web: str) -> list[str]:
    """URLs of the table: two that are answered, one of them signed, and one for each way to fail with a secret."""
    host = web.removeprefix("http://")
    return [
        f"{web}/0.jpg",
        f"{web}/1.jpg?X-Amz-Credential={secret('url key')}%2F2026&X-Amz-Signature={secret('url signature')}",
        f"http://me:{secret('url user')}@{host}/2.jpg",
        f"{web}/redirect",
        f"{web}/redirect_token",
        f"{web}/503.jpg?access_token={secret('url failed')}",
        f"http://127.0.0.1:1/5.jpg?api_key={secret('url refused')}",
        f"{web}/404.jpg?sv=2026&sig={secret('url sas')}",
    ]


@contextmanager
def planted_web() -> Iterator[str]:
    """A server of pictures that redirects to addresses with secrets; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").partition("?")[0].removesuffix(".jpg")
            body = picture(int(name)) if name in "01" else b"no"
            self.send_response(302 if name.startswith("redirect") else int(name) if len(name) == 3 else 200)
            if name == "redirect":
                self.send_header("Location", f"http://me:{secret('redirect')}@127.0.0.1/0.jpg")
            elif name == "redirect_token":
                self.send_header("Location", f"ftp://127.0.0.1/0.jpg?token={secret('redirect token')}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def put_table(bucket: str, web: str) -> None:
    """Put the URL table into a bucket, as `urls.parquet`."""
    written = io.BytesIO()
    addresses = urls(web)
    captions = [f"picture number {number} of the table" for number in range(len(addresses))]
    pq.write_table(pa.table({"url": addresses, "caption": captions}), written)
    Store(bucket).create("urls.parquet", written.getvalue())


def found_in(data: bytes, secrets: Mapping[str, str]) -> set[str]:
    """The doors whose secrets stand in some bytes: as they are, escaped for a URL, or in base64 with a user's name."""
    return {
        door
        for door, value in secrets.items()
        for spelled in (value, quote(value), base64.b64encode(f"me:{value}".encode()).decode().rstrip("="))
        if spelled.encode() in data
    }


def found_below(folder: Path, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """Path below a folder to the doors whose secrets stand in that file, its compressed contents included."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (doors := set().union(*(found_in(data, secrets) for data in contents(path)))):
            found[str(path.relative_to(folder))] = doors
        if doors := found_in(path.name.encode(), secrets):
            found[f"name of {path.relative_to(folder)}"] = doors
    return found


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what compression hides of them: columns of Parquet, gzip, zlib in PDF and PNG."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"PAR1"):
        with suppress(OSError):  # several tables in one file: those of rows as they were read
            yield str(pq.read_table(path).to_pydict()).encode(errors="replace")
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    with suppress(zlib.error):
        yield zlib.decompress(data)
