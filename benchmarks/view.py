"""What a view of many parts costs, in time and memory, beside copying the tars.

`python -m benchmarks.view [--num-parts 39000]`: RawPairs as `download_pairs` leaves them, 10,000 rows and 500 MB a
part, laid out for each loader in a fresh process, at a tenth of the parts and at all of them. All parts share the bytes
of one table and of one tar, which is sparse: a link does not read it. The baseline copies a file of 256 MB on the same
disk, and is multiplied to the bytes of all tars: what one does whose loader cannot read the store.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import nullcontext
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pyarrow as pa

from pipelines.outside.views.layouts import LAYOUTS
from pipelines.outside.views.views import lay_out, plan_view
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE
from stages.artifacts.manifest import Manifest, artifact_folder, content_digest, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord, sha256_of, total
from stages.formats.sample_table import sample_id_type, write_table
from stages.store.store import Store

STAGE, FINGERPRINT = "download_pairs", "7" * 64
NUM_ROWS = 10_000
TAR_BYTES = 500_000_000
BASELINE_BYTES = 256 * 2**20


def sample_table() -> pa.Table:
    """The sample table of a part: nine of ten rows are kept."""
    kept = [number % 10 != 9 for number in range(NUM_ROWS)]
    ids = [hashlib.sha256(b"%d" % number).digest() for number in range(NUM_ROWS)]
    offsets = [512 + number * 50_000 if is_kept else None for number, is_kept in enumerate(kept)]
    return pa.table(
        {
            "sample_id": pa.array([one[:16] for one in ids], sample_id_type()),
            "url": [f"https://pictures.example/{one.hex()}.jpg" for one in ids],
            "caption": [f"a picture of number {number}, with a caption of ten words" for number in range(NUM_ROWS)],
            "verdict": ["kept" if one else "failed" for one in kept],
            "reason": [None if one else "not_found" for one in kept],
            "sha256": pa.array(ids, pa.binary(32)),
            "image_offset": pa.array(offsets, pa.int64()),
            "image_size_bytes": pa.array([49_000 if one else None for one in kept], pa.int64()),
        }
    )


def commit(folder: Path, num_parts: int) -> Artifact:
    """Commit RawPairs of so many parts, all of which have the same bytes."""
    store = Store(folder)
    place = f"{artifact_folder(STAGE, FINGERPRINT)}/attempts/one-1"
    (folder / place).mkdir(parents=True)
    write_table(sample_table(), folder / place / SAMPLES_FILE)
    with (folder / place / PAIRS_FILE).open("wb") as tar:
        tar.truncate(TAR_BYTES)
    digest = sha256_of(folder / place / SAMPLES_FILE)
    table_bytes = (folder / place / SAMPLES_FILE).stat().st_size
    files = (
        FileEntry(name=PAIRS_FILE, key=f"{place}/{PAIRS_FILE}", size_bytes=TAR_BYTES, sha256=digest),
        FileEntry(name=SAMPLES_FILE, key=f"{place}/{SAMPLES_FILE}", size_bytes=table_bytes, sha256=digest),
    )
    items = ItemBalance(kept=NUM_ROWS - NUM_ROWS // 10, failed={"not_found": NUM_ROWS // 10})
    names = (f"{number:06d}" for number in range(num_parts))
    parts = tuple(PartRecord(phase="download", part=name, files=files, items=items) for name in names)
    manifest = Manifest(
        kind="RawPairs", stage=STAGE, number=3, fingerprint=FINGERPRINT, recipe={}, inputs={}, versions={},
        items=total(part.items for part in parts), content=content_digest(parts), parts=parts,
    )  # fmt: skip
    data = manifest_bytes(manifest)
    store.create(manifest_key(STAGE, FINGERPRINT), data)
    store.create(head_key(STAGE, FINGERPRINT), head_bytes(head_of(data)))
    return open_artifact(store, STAGE, FINGERPRINT, Artifact)


def measure(store: Path, folder: Path, layout: str, answer: Connection) -> None:
    """Lay out a view; answers with its seconds, the growth of its memory in MB, and how its shards ended."""
    artifact = open_artifact(Store(store), STAGE, FINGERPRINT, Artifact)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    ended = lay_out(artifact, plan_view(artifact, LAYOUTS[layout], None), folder, lambda _: nullcontext(bool))
    seconds = time.perf_counter() - start
    answer.send((seconds, (psutil.Process().memory_info().rss - before) / 1e6, dict(ended)))


def copy_seconds(folder: Path) -> float:
    """Seconds to copy `BASELINE_BYTES`, flushed to the disk."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(os.urandom(2**20) * (BASELINE_BYTES // 2**20))
    start = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each loader and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-parts", type=int, default=39_000)
    sizes = [parser.parse_args().num_parts // 10, parser.parse_args().num_parts]
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        a_byte = copy_seconds(Path(scratch)) / BASELINE_BYTES
        print(f"copying: {1 / a_byte / 1e6:,.0f} MB/s")
        for num_parts in sizes:
            commit(Path(scratch) / f"store-{num_parts}", num_parts)
            for layout in LAYOUTS:
                here, there = spawn.Pipe()
                store, folder = Path(scratch) / f"store-{num_parts}", Path(scratch) / f"{layout}-{num_parts}"
                process = spawn.Process(target=measure, args=(store, folder, layout, there))
                process.start()
                seconds, grown, ended = here.recv()
                process.join()
                each, ratio = seconds / num_parts * 1000, a_byte * TAR_BYTES * num_parts / seconds
                print(f"{layout:<8} {num_parts:>7,} parts  {seconds:7.1f} s  {each:6.2f} ms a part", end="  ")
                print(f"{grown:5.0f} MB more  copying takes {ratio:,.0f} times as long  {ended}", flush=True)


if __name__ == "__main__":
    main()
