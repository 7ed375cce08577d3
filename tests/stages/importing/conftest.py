"""Real pictures for imported pairs, and an intake that judges them."""

import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason
from stages.download.spool import Spool
from stages.importing.intake import Intake


def picture(colour: str = "red", size: tuple[int, int] = (40, 30), encoding: str = "JPEG") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, encoding)
    return written.getvalue()


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    with Spool(tmp_path / "spool") as spool:
        yield Intake(PictureRecipe(), spool)


PHOTO = picture("green", (300, 200))


class _Web(BaseHTTPRequestHandler):
    """A small web with the failures that img2dataset meets: `/3.jpg` is a photograph, other paths are not."""

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        status = int(name) if name.isdigit() else 200
        body = b"<html>sign in</html>" if name == "page" else PHOTO
        self.send_response(status)
        if name == "opted_out":
            self.send_header("X-Robots-Tag", "noai")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if name == "short" else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def small_web() -> Iterator[str]:
    """A web server on loopback; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PATHS = ("0.jpg", "404", "1.jpg", "page", "opted_out", "503", "short", "2.jpg", "403")
"""What the rows of a downloaded shard ask for."""


def download_shard(folder: Path, output_format: str, shard: int = 0) -> None:
    """Let img2dataset download a shard of PATHS, and of three URLs that lead nowhere, into `folder`."""
    with small_web() as web, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        urls = [f"{web}/{path}" for path in PATHS]
        urls += [f"http://127.0.0.1:{closed.getsockname()[1]}/x.jpg", "gopher://x/y.jpg", "http:///nowhere.jpg"]
        download_urls(urls, folder, output_format, shard)


def download_urls(urls: list[str], folder: Path, output_format: str, shard: int = 0) -> None:
    """Let img2dataset download a shard of these URLs, captioned `row 0`, `row 1`, ..., into `folder`."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from img2dataset import writer
    from img2dataset.downloader import Downloader
    from img2dataset.resizer import Resizer

    captions = [f"row {number}" for number in range(len(urls))]
    table = pa.table({"url": urls, "caption": captions, "similarity": [number / 100 for number in range(len(urls))]})
    table_path = folder.parent / "urls.feather"
    with pa.ipc.new_file(str(table_path), table.schema) as file:
        file.write_table(table)
    folder.mkdir(exist_ok=True)
    writers = {"webdataset": writer.WebDatasetSampleWriter, "files": writer.FilesSampleWriter}
    Downloader(
        sample_writer_class={**writers, "parquet": writer.ParquetSampleWriter}[output_format],
        resizer=Resizer(image_size=256, resize_mode="no", resize_only_if_bigger=True),
        thread_count=4,
        save_caption=True,
        extract_exif=True,
        output_folder=str(folder),
        column_list=table.column_names,
        timeout=5,
        number_sample_per_shard=100,
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,
        user_agent_token="test",
        disallowed_header_directives=["noai"],
    ).download_shard((shard, str(table_path)))


EXPECTED = {
    "row 0": None,
    "row 1": Reason.NOT_FOUND,
    "row 2": None,
    "row 3": Reason.UNDECODABLE,
    "row 4": Reason.OPT_OUT,
    "row 5": Reason.SERVER_ERROR,
    "row 6": Reason.CUT_SHORT,
    "row 7": None,
    "row 8": Reason.REFUSED,
    "row 9": Reason.CONNECT_ERROR,
    "row 10": Reason.URL_SCHEME,
    "row 11": Reason.URL_MALFORMED,
}
"""Caption of each row of a downloaded shard to the reason why it has no picture."""
