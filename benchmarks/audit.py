"""An audit at level `full`, beside sha256 alone over the same files.

`python -m benchmarks.audit --folder /tmp`: one artifact of 24 parts with 24 MB of random bytes each. In turn, three
times: `neo audit`'s work over it, and a loop that reads each file and hashes it, in one thread. Prints MB a second of
both by the clock and by CPU seconds, and their ratios. By the clock an audit is faster where there are cores; by CPU
seconds the ratio says what it adds to the hash. Then the peak of what the audit holds of files.

Last the same audit on a Ray of two nodes of this machine with half of its CPUs each, in turn with the other two, by the
clock: its ratio to the audit of one process, which has the same CPUs, says what lists and Ray cost.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from cluster.local import make
from cluster.parts.machines import machines_of
from cluster.site import Site
from pipelines.lineage import file_lists
from pipelines.lineage.audit import audit
from pipelines.lineage.file_checks import FileReader, read_here
from pipelines.lineage.file_lists import reader_on
from pipelines.lineage.graph import lineage_of
from stages.artifacts.artifact import Artifact
from stages.artifacts.manifest import Manifest
from stages.commit.repair import CHUNK_BYTES
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.store.store import Store

NUM_PARTS = 24
PART_BYTES = 24_000_000
NUM_PASSES = 3
FILES_OF_LIST = 2
"""On two nodes: so small an artifact would be a single list."""


class BytesRecipe(Recipe):
    num_parts: int = NUM_PARTS
    part_bytes: int = PART_BYTES


def write_part(part: Part, draft: PartDraft) -> None:
    draft.path("data.bin").write_bytes(os.urandom(part.task["size_bytes"]))


@stage(number=1, recipe=BytesRecipe, makes=Artifact)
def make_bytes(recipe: BytesRecipe, *, ctx: StageContext) -> None:
    parts = [Part(name=f"{n:05d}", task={"size_bytes": recipe.part_bytes}) for n in range(recipe.num_parts)]
    ctx.spread(write_part, over=parts, phase="write")


def hash_alone(store: Store, manifest: Manifest) -> None:
    """Read and hash each file, one after the other."""
    for part in manifest.parts:
        for entry in part.files:
            hasher = hashlib.sha256()
            with (Path(store.url) / entry.key).open("rb", buffering=0) as file:
                while data := file.read(CHUNK_BYTES):
                    hasher.update(data)
            assert hasher.hexdigest() == entry.sha256


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of this process."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


@contextmanager
def two_nodes() -> Iterator[FileReader]:
    """What reads on two nodes of this machine."""
    half = max(1, len(os.sched_getaffinity(0)) // 2)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": half, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=half)
        ray.init(address=cluster.address, log_to_driver=False)
        with machines_of(Site(name="two_nodes", store=""), "audit") as machines:
            yield reader_on(machines, print, nullcontext)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the store is made, and removed again")
    with tempfile.TemporaryDirectory(dir=parser.parse_args().folder) as folder:
        store = Store(folder)
        made = make(make_bytes.bind("bytes", BytesRecipe()), store)
        lineage = lineage_of(store, made.manifest.stage, made.fingerprint)
        num_mb = made.head.size_bytes / 1e6

        def audited(read_files: FileReader = read_here) -> None:
            assert audit(store, lineage, lambda *_: None, read_files=read_files).findings == ()

        rows = [(timed(audited), timed(lambda: hash_alone(store, made.manifest))) for _ in range(NUM_PASSES)]
        for number, name in enumerate(("by the clock", "by CPU seconds")):
            ours, alone = (statistics.median(row[side][number] for row in rows) for side in (0, 1))
            print(f"{name:<15} audit {num_mb / ours:7,.0f} MB/s   sha256 alone {num_mb / alone:7,.0f} MB/s   "
                  f"ratio {alone / ours:.2f}")  # fmt: skip
        tracemalloc.start()
        audited()
        print(f"peak {tracemalloc.get_traced_memory()[1] / 2**20:,.0f} MiB held by Python during an audit")
        tracemalloc.stop()
        file_lists.MAX_FILES_OF_LIST = FILES_OF_LIST
        with two_nodes() as read_files:
            audited(read_files)  # workers start and import
            ways = (lambda: audited(read_files), audited, lambda: hash_alone(store, made.manifest))
            turns = [[timed(way)[0] for way in ways] for _ in range(NUM_PASSES)]
        seconds, one_process, alone = (statistics.median(turn[way] for turn in turns) for way in range(3))
        print(f"{'two nodes':<15} audit {num_mb / seconds:7,.0f} MB/s   "
              f"ratio to one process {one_process / seconds:.2f}, to sha256 alone {alone / seconds:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
