"""One list of good and bad URLs through img2dataset's command and through `download_pairs`: what each kept and lost.

The list has pictures of every kind, captions that share a URL, and one row for each way in which servers and lists are
known to be bad. Both sides keep the bytes of ordinary JPEGs. A server in this process answers both, on loopback; what
never ends there ends after a while, because img2dataset has no deadline for a whole answer, and no limit of its size.

Where both kept a picture it must be the same one: the same bytes, or, where we convert to JPEG, the same size and
colours. If one is not, the command fails. Of all other rows a table says what each side said.

    python -m benchmarks.same_list [--num-photos 300]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

HOST = "127.0.0.1"
NUM_CAPTIONS = 5
"""Rows of each URL that has several captions."""
NUM_SHARED = 20
"""URLs that have several captions."""
ENDLESS_SECONDS = 20.0
"""When an answer without end does end, for the sake of the side that would wait."""
MAX_FLOOD_BYTES = 60_000_000
MAX_COLOUR_DIFFERENCE = 3.0
"""Mean difference of two pictures, of 255, up to which one is the other encoded as JPEG."""
Say: TypeAlias = bytes | Callable[[socket.socket], None]


@dataclass(frozen=True)
class Row:
    """One row of the list."""

    what: str
    """What kind of row it is, in the words of the table."""
    url: str
    caption: str


@dataclass(frozen=True)
class End:
    """How a row ended at one side."""

    word: str
    """`kept`, or why not."""
    picture: bytes = b""
    """The bytes that were kept."""


class Server:
    """Answers each path with the bytes it was told, and counts the requests."""

    def __init__(self) -> None:
        self._answers: dict[str, Say] = {}
        self.asked: Counter[str] = Counter()
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, say: Say) -> str:
        """The URL of a new path that is answered so."""
        path = f"/{len(self._answers)}.jpg"
        self._answers[path] = say
        return f"http://{HOST}:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, IndexError, KeyError):
            connection.settimeout(ENDLESS_SECONDS)
            path = connection.recv(65_536).split(b" ")[1].decode().partition("?")[0]
            self.asked[path] += 1
            say = self._answers[path]
            if callable(say):
                say(connection)
            else:
                connection.sendall(say)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(10)


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An HTTP answer; `length` lies about that of the body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def drip(connection: socket.socket) -> None:
    """A byte now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    until = time.monotonic() + ENDLESS_SECONDS
    while time.monotonic() < until:
        connection.sendall(b"x")
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    """Many more bytes than a picture has."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(MAX_FLOOD_BYTES // 65_536):
        connection.sendall(bytes(65_536))


def encoded(mode: str, encoding: str = "JPEG", **options: Any) -> bytes:
    """A picture of its own, 320 x 240 px."""
    from PIL import Image

    image = Image.effect_noise((320, 240), 20)
    if mode == "RGBA":
        image = Image.merge("RGBA", [image] * 3 + [image.point(lambda _: 255)])
    elif mode == "CMYK":
        image = Image.merge("CMYK", [image] * 4)
    elif mode != "L":
        image = Image.merge("RGB", [image] * 3).convert(mode)
    written = io.BytesIO()
    image.save(written, encoding, **options)
    return written.getvalue()


def good_rows(server: Server, num_photos: int) -> list[Row]:
    """Pictures of all kinds, and URLs with several captions."""
    rows = [Row("a photo", server.url(answer(encoded("RGB"))), f"photo {n}") for n in range(num_photos)]
    kinds = [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "WEBP")]
    kinds += [("RGB", "BMP"), ("RGB", "TIFF"), ("L", "GIF")]
    rows += [Row(f"{kind} {mode}", server.url(answer(encoded(mode, kind))), "a picture") for mode, kind in kinds]
    rows.append(Row("a progressive JPEG", server.url(answer(encoded("RGB", progressive=True))), "a picture"))
    for number in range(NUM_SHARED):
        url = server.url(answer(encoded("RGB")))
        rows += [Row("a URL with 5 captions", url, f"caption {caption} of {number}") for caption in range(NUM_CAPTIONS)]
    return [*rows, Row("the same row again", rows[0].url, rows[0].caption)]


def bad_rows(server: Server, secret: Path) -> list[Row]:
    """One row for each way to be bad; `secret` is a picture of this machine that is nobody's business."""
    import gzip

    photo = encoded("RGB")
    local = f"http://localhost:{server.port}"
    inner = server.url(answer(photo)).rpartition("/")[2]
    said: dict[str, Say] = {
        "404": answer(b"", status="404 Not Found"),
        "403": answer(b"", status="403 Forbidden"),
        "429": answer(b"", status="429 Too Many Requests"),
        "503": answer(b"", status="503 Service Unavailable"),
        "a redirect to a photo": answer(b"", f"Location: {server.url(answer(photo))}", status="302 Found"),
        "a redirect to this machine": answer(b"", f"Location: {local}/{inner}", status="302 Found"),
        "a redirect to a file": answer(b"", f"Location: {secret.as_uri()}", status="302 Found"),
        "a redirect to itself": answer(b"", "Location: ?", status="302 Found"),
        "a page, said to be a JPEG": answer(b"<!doctype html>Sign in", "Content-Type: image/jpeg"),
        "nothing": answer(b""),
        "half a JPEG, as announced": answer(photo[: len(photo) // 2]),
        "a JPEG without its end": answer(photo[:-200]),
        "a connection that is cut": answer(photo[: len(photo) // 2], length=len(photo)),
        "a byte now and then": drip,
        "60 MB of zeros": flood,
        "a gzip bomb of 200 MB": answer(gzip.compress(bytes(200_000_000)), "Content-Encoding: gzip"),
        "a JPEG in gzip": answer(gzip.compress(photo), "Content-Encoding: gzip"),
        "SVG": answer(b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'></svg>"),
        "noai": answer(photo, "X-Robots-Tag: noai"),
        "noai for us alone": answer(photo, "X-Robots-Tag: neo-pipelines: noai"),
        "tdm-reservation: 1": answer(photo, "tdm-reservation: 1"),
        "train-ai=n": answer(photo, "Content-Usage: train-ai=n"),
        "a line without a colon": answer(photo, "X-Frame-Options"),
        "Location with a blank": answer(b"", "Location:  /a b.jpg", status="301 Moved"),
        "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    }
    urls = {
        "a host of this machine": f"{local}/{inner}",
        "a file of this machine": secret.as_uri(),
        "ftp": "ftp://127.0.0.1/a.jpg",
        "no scheme": "example.org/a.jpg",
        "user and password": server.url(answer(photo)).replace("//", "//user:secret@"),
        "a blank in the path": server.url(answer(photo)) + "?a b",
        "a port that is closed": f"http://{HOST}:9/a.jpg",
    }
    server._answers["/a%20b.jpg"] = answer(photo)
    urls |= {what: server.url(say) for what, say in said.items()}
    return [Row(what, url, "a caption") for what, url in urls.items()]


def theirs(rows: list[Row], folder: Path) -> list[End]:
    """How img2dataset's command ends each row, its errors in our words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stages.importing.img2dataset_reasons import reason_of

    table = {"url": [row.url for row in rows], "caption": [row.caption for row in rows], "number": range(len(rows))}
    pq.write_table(pa.table({**table, "number": list(table["number"])}), folder / "urls.parquet")
    words = {"url_list": folder / "urls.parquet", "output_folder": folder / "theirs", "input_format": "parquet"}
    words |= {"caption_col": "caption", "save_additional_columns": '["number"]', "resize_mode": "no"}
    words |= {"output_format": "files", "skip_reencode": True, "processes_count": 1, "thread_count": 32, "timeout": 10}
    command = [
        str(Path(sys.executable).parent / "img2dataset"),
        *(f"--{name}={value}" for name, value in words.items()),
    ]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends: dict[int, End] = {}
    for path in sorted((folder / "theirs").glob("*.parquet")):
        for told in pq.read_table(path).to_pylist():
            if told["status"] == "success":
                ends[told["number"]] = End("kept", (folder / "theirs" / path.stem / f"{told['key']}.jpg").read_bytes())
            else:
                ends[told["number"]] = End(reason_of(told["status"], told["error_message"]) or "unexplained")
    return [ends.get(number, End("(no row)")) for number in range(len(rows))]


def ours(rows: list[Row], folder: Path) -> list[End]:
    """How `download_pairs` ends each row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from cluster.local import make
    from stages.artifacts.kinds import SAMPLES_FILE
    from stages.contract import Source
    from stages.download_pairs import DownloadPairsRecipe, download_pairs
    from stages.formats.pairs import PairReader

    (folder / "source").mkdir()
    columns = {"url": [row.url for row in rows], "caption": [row.caption for row in rows]}
    pq.write_table(pa.table(columns), folder / "source" / "urls.parquet")
    recipe = DownloadPairsRecipe(source=Source("urls"), allow_hosts=(HOST,), num_tries=1, max_share_lost=1)
    raw = make(download_pairs.bind("pairs", recipe), folder / "ours", sources={"urls": str(folder / "source")})
    pictures = PairReader(raw)
    ends = []
    for part in raw.parts:
        for told in pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))).to_pylist():
            is_kept = told["verdict"] == "kept"
            ends.append(End("kept", pictures.image(told["sample_id"])) if is_kept else End(told["reason"]))
    return ends


def likeness(one: bytes, other: bytes) -> str:
    """How two pictures of a row are alike: `same bytes`, `same picture` or `another picture`."""
    import numpy as np
    from PIL import Image

    if hashlib.sha256(one).digest() == hashlib.sha256(other).digest():
        return "same bytes"
    first, second = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) for data in (one, other))
    is_same = first.shape == second.shape and float(np.abs(first - second).mean()) < MAX_COLOUR_DIFFERENCE
    return "same picture" if is_same else "another picture"


def print_comparison(rows: list[Row], their_ends: list[End], our_ends: list[End]) -> bool:
    """Print what both kept, and the table of the rest; whether no picture differs."""
    both = [(row, a, b) for row, a, b in zip(rows, their_ends, our_ends, strict=True) if a.picture and b.picture]
    alike = Counter(likeness(a.picture, b.picture) for _, a, b in both)
    print(f"{len(rows)} rows; both kept {len(both)}: " + ", ".join(f"{count} {word}" for word, count in alike.items()))
    for row, a, b in both:
        if likeness(a.picture, b.picture) == "another picture":
            print(f"  another picture: {row.what} {row.url}")
    print(f"\n{'rows':>4}  {'what is asked for':28}  {'img2dataset':20}  download_pairs")
    lost = Counter((row.what, a.word, b.word) for row, a, b in zip(rows, their_ends, our_ends, strict=True))
    for (what, a_word, b_word), count in lost.items():
        if (a_word, b_word) != ("kept", "kept"):
            print(f"{count:4}  {what:28}  {a_word:20}  {b_word}")
    return alike["another picture"] == 0


def main() -> None:
    """Run both sides on one list, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-photos", type=int, default=300)
    asked = parser.parse_args()
    server = Server()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secret.jpg").write_bytes(encoded("RGB"))
        rows = [*good_rows(server, asked.num_photos), *bad_rows(server, folder / "secret.jpg")]
        sides: dict[str, tuple[list[End], int, float]] = {}
        for side, download in (("img2dataset", theirs), ("download_pairs", ours)):
            before, started = server.asked.total(), time.monotonic()
            ends = download(rows, folder)
            sides[side] = ends, server.asked.total() - before, time.monotonic() - started
        is_alike = print_comparison(rows, sides["img2dataset"][0], sides["download_pairs"][0])
    print()
    for side, (ends, num_requests, seconds) in sides.items():
        num_kept = sum(end.word == "kept" for end in ends)
        print(f"{side:15} kept {num_kept}, {num_requests} requests, {seconds:.0f} s")
    if not is_alike:
        raise SystemExit("a picture that both kept is not the same")


if __name__ == "__main__":
    main()
