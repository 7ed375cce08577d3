"""Images per CPU-second of `download_pairs` with each of its engines, beside img2dataset and beside one core at best.

All keep the bytes of ordinary JPEGs, or all resize them (`--resize-px 256`), determine their size and sha256, and write
WebDataset tars. `best` only receives bodies into one buffer, hashes them and reads their headers: what is left of a
download if nothing is written, checked or scheduled. Where pictures are resized, it decodes them at the least scale of
JPEG that is large enough, which no side does, and encodes what comes out. The server runs in a process that is not
counted, and keeps a connection open for those who like. Each side runs in fresh processes with few and with many
images. The difference is compared, which leaves out the cost of starting; that is printed as well.

`--drips` measures wall time instead: a list of which 1% of the URLs drip without end, beside the same list without
them, from a server that takes 300 ms for each answer. The deadline is a hundredth of img2dataset's usual ones, because
what counts is how it compares with the time of the whole list, which is as much shorter here than it is in earnest.

    python benchmarks/download.py [--num-images 4000] [--repeats 5] [--resize-px 256]
    python benchmarks/download.py --drips
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

NUM_WARM_IMAGES = 200
NUM_THREADS = 16
HOST = "127.0.0.1"
DRIPS_LATENCY_SECONDS = 0.3
DRIPS_DEADLINE_SECONDS = 1.5


def photo() -> bytes:
    """A JPEG of 512 x 384 px and 89 kB."""
    from PIL import Image

    written = io.BytesIO()
    Image.effect_noise((512, 384), 25).convert("RGB").save(written, "JPEG", quality=85)
    return written.getvalue()


def serve(port_to: Connection, seconds: float = 0.0) -> None:
    """Answer every path with the same photo after so many seconds until killed; paths that begin with `/drip` drip."""
    body = photo()
    length = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(body)
    answers = {True: length + b"Connection: close\r\n\r\n" + body, False: length + b"\r\n" + body}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            is_closed = False
            while not is_closed:
                request = await reader.readuntil(b"\r\n\r\n")
                is_closed = b"connection: close" in request.lower()
                if seconds:
                    await asyncio.sleep(seconds)
                if request.startswith(b"GET /drip"):
                    await drip(writer)
                writer.write(answers[is_closed])
                await writer.drain()
        writer.close()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(length + b"\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)

    async def listen() -> None:
        server = await asyncio.start_server(handle, HOST, 0, backlog=1024)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


def ours(asked: argparse.Namespace, folder: Path) -> int:
    """Download as a part of `download_pairs` does; returns the number of images kept."""
    import pyarrow as pa

    from stages.commit.draft import Draft
    from stages.contract import Source
    from stages.download_pairs import DownloadPairsRecipe, download_rows
    from stages.origins.row_parts import PartRows
    from stages.origins.tables.row_batches import MALFORMED

    num_images, num_hosts = asked.num_images, 500 if asked.deadline_seconds else 1
    hosts = [f"toy{number}.invalid" for number in range(num_hosts)]
    urls = [
        f"http://{hosts[number % num_hosts]}/{'drip' if asked.with_drips and number % 100 == 50 else ''}{number}.jpg"
        for number in range(num_images)
    ]
    table = pa.table({"url": urls, "caption": ["noise"] * num_images, MALFORMED: pa.nulls(num_images, pa.string())})
    draft = Draft(scratch=folder, report=lambda _: None)
    resized = {"resize_mode": "keep_ratio_largest", "resize_px": asked.resize_px} if asked.resize_px else {}
    engine, _, decode = asked.side.partition(" ")
    recipe = DownloadPairsRecipe(
        source=Source("urls"),
        engine=engine,
        decode=decode or "exact",
        deadline_seconds=asked.deadline_seconds or 10.0,
        **resized,
    )
    routes = dict.fromkeys(hosts, (HOST, asked.port))
    download_rows(PartRows(table, {}, first_row=0), routes, "urls", recipe, draft)
    return draft.items.kept


def theirs(asked: argparse.Namespace, folder: Path) -> int:
    """Download with img2dataset's `download`; returns the number of images written."""
    import img2dataset
    import pyarrow as pa
    import pyarrow.parquet as pq

    num_images = asked.num_images
    urls = [f"http://{HOST}:{asked.port}/{number}.jpg" for number in range(num_images)]
    pq.write_table(pa.table({"url": urls, "caption": ["noise"] * num_images}), folder / "urls.parquet")
    resized = {"resize_mode": "keep_ratio_largest", "image_size": asked.resize_px, "resize_only_if_bigger": True}
    kept = {"resize_mode": "no", "skip_reencode": True}
    img2dataset.download(
        url_list=str(folder / "urls.parquet"),
        input_format="parquet",
        caption_col="caption",
        output_folder=str(folder / "out"),
        output_format="webdataset",
        processes_count=1,
        thread_count=NUM_THREADS,
        compute_hash="sha256",
        number_sample_per_shard=num_images,
        **(resized if asked.resize_px else kept),
    )
    return int(pq.read_table(folder / "out" / "00000.parquet")["status"].to_pylist().count("success"))


def best(asked: argparse.Namespace, _: Path) -> int:
    """Receive, hash, read the header, and forget: one connection, one buffer, no checks."""
    import simplejpeg

    from stages.download.jpeg import plain_jpeg

    num_kept = 0
    buffer = bytearray(1024 * 1024)
    with socket.create_connection((HOST, asked.port)) as connection:
        for number in range(asked.num_images):
            connection.sendall(b"GET /%d.jpg HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            num_bytes = connection.recv_into(buffer)
            body = buffer.index(b"\r\n\r\n") + 4
            length = int(buffer[buffer.index(b"Length:") + 7 : body].split(b"\r")[0])
            while num_bytes < body + length:
                num_bytes += connection.recv_into(memoryview(buffer)[num_bytes:])
            picture = bytes(memoryview(buffer)[body : body + length])
            header = plain_jpeg(picture)
            if asked.resize_px and header is not None:
                height_px = asked.resize_px * header.height_px // header.width_px
                pixels = simplejpeg.decode_jpeg(picture, min_width=asked.resize_px, min_height=height_px, min_factor=1)
                picture = simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="420")
            hashlib.sha256(picture).digest()
            num_kept += header is not None
    return num_kept


SIDES: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "event_loop": ours,
    "event_loop reduced": ours,
    "img2dataset": ours,
    "img2dataset alone": theirs,
    "best": best,
}
"""Engines of `download_pairs`, one with JPEGs decoded no larger than they need be, img2dataset's own command, and what
one core can do at best."""


def cost_seconds(side: str, port: int, num_images: int, *options: str) -> tuple[float, float]:
    """CPU seconds of one fresh process and its children, and its wall seconds."""
    command = [sys.executable, __file__, "--side", side, "--port", str(port), "--num-images", str(num_images)]
    started = time.monotonic()
    process = os.posix_spawn(
        sys.executable,
        [*command, *options],
        {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"},
        file_actions=[(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1,)],
    )
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"{side} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started


@contextlib.contextmanager
def server(seconds: float = 0.0) -> Iterator[int]:
    """The port of a server in a process of its own."""
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(sender, seconds), daemon=True)
    process.start()
    yield receiver.recv()
    process.kill()


def compare(num_images: int, repeats: int, resize_px: int) -> None:
    """Alternate the sides, and print images per CPU-second, medians and ratios."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    options = ["--resize-px", str(resize_px)]
    with server() as port:
        for _ in range(repeats):
            for side, measured in rates.items():
                few_seconds, _ = cost_seconds(side, port, NUM_WARM_IMAGES, *options)
                many_seconds, _ = cost_seconds(side, port, NUM_WARM_IMAGES + num_images, *options)
                measured.append(num_images / (many_seconds - few_seconds))
                rate = f"{measured[-1]:6.0f} images/CPU-s"
                print(f"{side:17} {rate}; the first {NUM_WARM_IMAGES} cost {few_seconds:.1f} CPU-s", flush=True)
    medians = {side: statistics.median(measured) for side, measured in rates.items()}
    print("median", *(f"{side} {rate:.0f} images/CPU-s" for side, rate in medians.items()), sep="  ")
    for side in rates:
        print(f"{side} is {medians[side] / medians['img2dataset alone']:.1f} times img2dataset alone")


def compare_drips(num_images: int, side: str) -> None:
    """Print how much longer a list takes in which 1% of the URLs drip without end."""
    options = ["--deadline-seconds", str(DRIPS_DEADLINE_SECONDS)]
    with server(DRIPS_LATENCY_SECONDS) as port:
        _, starting = cost_seconds(side, port, 1, *options)
        _, clean = cost_seconds(side, port, num_images, *options)
        _, dripping = cost_seconds(side, port, num_images, *options, "--with-drips")
    clean, dripping = clean - starting, dripping - starting
    print(f"{side}: {num_images} URLs in {clean:.1f} s, with 1% drips in {dripping:.1f} s")
    print(f"ratio {dripping / clean:.2f}")


def main() -> None:
    """Compare the sides, or run one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resize-px", type=int, default=0, help="longest side after resizing; 0 keeps the bytes")
    parser.add_argument("--drips", action="store_true", help="measure the wall time that 1%% of endless drips cost")
    parser.add_argument("--side", choices=list(SIDES), help="with --drips, the engine that is measured")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--with-drips", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--deadline-seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drips:
        compare_drips(asked.num_images, asked.side or "event_loop")
        return
    if asked.port is None:
        compare(asked.num_images, asked.repeats, asked.resize_px)
        return
    with tempfile.TemporaryDirectory() as folder:
        num_kept = SIDES[asked.side](asked, Path(folder))
    num_expected = asked.num_images - (asked.with_drips and asked.num_images // 100)
    if num_kept < num_expected:
        raise SystemExit(f"{asked.side} kept {num_kept} of {num_expected} images; the comparison would be unfair")


if __name__ == "__main__":
    main()
