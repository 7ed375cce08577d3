"""Images per CPU-second of `download_pairs`, beside img2dataset doing the same work on the same server.

Both keep the bytes of ordinary JPEGs, determine their size and sha256, and write WebDataset tars; each image comes
over its own connection. The server runs in a process that is not counted. Each side runs in fresh processes with few
and with many images. The difference is compared, which leaves out the cost of starting; that is printed as well.

    python benchmarks/download.py [--num-images 4000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

NUM_WARM_IMAGES = 200
NUM_THREADS = 16
HOST = "127.0.0.1"


def photo() -> bytes:
    """A JPEG of 512 x 384 px and 89 kB."""
    from PIL import Image

    written = io.BytesIO()
    Image.effect_noise((512, 384), 25).convert("RGB").save(written, "JPEG", quality=85)
    return written.getvalue()


def serve(port_to: Connection) -> None:
    """Answer every path with the same photo until killed."""
    body = photo()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(
        body
    )

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer + body)
        await writer.drain()
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(handle, HOST, 0, backlog=1024)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


def ours(port: int, num_images: int, folder: Path) -> int:
    """Download as a part of `download_pairs` does; returns the number of images kept."""
    import pyarrow as pa

    from stages.commit.draft import Draft
    from stages.contract import Source
    from stages.download_pairs import DownloadPairsRecipe, download_rows
    from stages.origins.row_parts import PartRows
    from stages.origins.tables.row_batches import MALFORMED

    urls = [f"http://toy.invalid/{number}.jpg" for number in range(num_images)]
    read = pa.nulls(num_images, pa.string())
    table = pa.table({"url": urls, "caption": ["a photo of noise"] * num_images, MALFORMED: read})
    draft = Draft(scratch=folder, report=lambda _: None)
    recipe = DownloadPairsRecipe(source=Source("urls"))
    download_rows(PartRows(table, {}, first_row=0), {"toy.invalid": (HOST, port)}, "urls", recipe, draft)
    return draft.items.kept


def theirs(port: int, num_images: int, folder: Path) -> int:
    """Download with img2dataset's `download`; returns the number of images written."""
    import img2dataset
    import pyarrow as pa
    import pyarrow.parquet as pq

    urls = [f"http://{HOST}:{port}/{number}.jpg" for number in range(num_images)]
    pq.write_table(pa.table({"url": urls, "caption": ["a photo of noise"] * num_images}), folder / "urls.parquet")
    img2dataset.download(
        url_list=str(folder / "urls.parquet"),
        input_format="parquet",
        caption_col="caption",
        output_folder=str(folder / "out"),
        output_format="webdataset",
        processes_count=1,
        thread_count=NUM_THREADS,
        resize_mode="no",
        skip_reencode=True,
        compute_hash="sha256",
        number_sample_per_shard=num_images,
    )
    return int(pq.read_table(folder / "out" / "00000.parquet")["status"].to_pylist().count("success"))


SIDES: dict[str, Callable[[int, int, Path], int]] = {"neo-pipelines": ours, "img2dataset": theirs}


def cost_seconds(side: str, port: int, num_images: int) -> float:
    """CPU seconds of one fresh process and its children."""
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, __file__, "--side", side, "--port", str(port), "--num-images", str(num_images)],
        {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"},
        file_actions=[(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)],
    )
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"{side} failed with status {status}")
    return usage.ru_utime + usage.ru_stime


def compare(num_images: int, repeats: int) -> None:
    """Alternate the sides, and print images per CPU-second, medians and ratio."""
    receiver, sender = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(sender,), daemon=True)
    server.start()
    port = receiver.recv()
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side in SIDES:
            few_seconds = cost_seconds(side, port, NUM_WARM_IMAGES)
            many_seconds = cost_seconds(side, port, NUM_WARM_IMAGES + num_images)
            rates[side].append(num_images / (many_seconds - few_seconds))
            rate = f"{rates[side][-1]:6.0f} images/CPU-s"
            print(f"{side:13} {rate}; the first {NUM_WARM_IMAGES} cost {few_seconds:.1f} CPU-s")
    server.kill()
    medians = {side: statistics.median(measured) for side, measured in rates.items()}
    print("median", *(f"{side} {rate:.0f} images/CPU-s" for side, rate in medians.items()), sep="  ")
    print(f"ratio {medians['neo-pipelines'] / medians['img2dataset']:.1f}")


def main() -> None:
    """Compare the sides, or run one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side is None:
        compare(asked.num_images, asked.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        num_kept = SIDES[asked.side](asked.port, asked.num_images, Path(folder))
    if num_kept != asked.num_images:
        raise SystemExit(f"{asked.side} kept {num_kept} of {asked.num_images} images; the comparison would be unfair")


if __name__ == "__main__":
    main()
