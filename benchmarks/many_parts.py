"""The cost of the runner itself for a phase of many thousand parts: plan, status, resume, and the plan after it.

`python -m benchmarks.many_parts [--num-parts 39000] [--s3]`: a step whose parts are all recorded, of records as
`download_pairs` leaves them, in a folder or on an S3 server (moto) on this machine. Each measure runs in a fresh
process; beside its seconds and peak memory stands the ratio of its wall time to that of reading a tenth of the records
one by one, times ten, in the same minutes on the same store.

    plan      `neo plan` of the unfinished step: which parts are recorded, which are to be made
    status    the progress of the step, as `neo status` reads it at every refresh
    resume    the step executed: every record read, added to the manifest, committed
    replan    `neo plan` of the committed step
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from cluster.local import local_context
from pipelines.commands.selection import TypedSelection, planned
from pipelines.planning.catalog import find_pipeline
from pipelines.planning.plan import decide
from pipelines.planning.progress import read_progress
from pipelines.planning.request import Request, Selection, freeze
from pipelines.running.step_specs import step_specs
from pipelines.runs.run import Run
from stages.artifacts.kinds import RawPairs
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import execute_step
from stages.commit.parts import PartWriter
from stages.commit.phase_records import record_key
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.contract.binding import Step
from stages.store.store import Store

NUM_PARTS_VARIABLE = "NEO_BENCHMARK_PARTS"
PHASE = "download"
NUM_ITEMS = 10_000
BUCKET, REGION = "many-parts", "us-east-1"
BASELINE_SHARE = 10
"""The baseline reads one record in this many, and its seconds are multiplied by it."""


class ManyRecipe(Recipe):
    """How many parts the step has."""

    num_parts: int


def make_nothing(part: Part, _draft: PartDraft) -> None:
    """Fail: every part is recorded, and none may be made."""
    raise AssertionError(f"part {part.name} was recorded and is made again")


def parts_of(num_parts: int) -> list[Part]:
    """The parts of the step, as `download_pairs` makes them."""
    task = {"start": 0, "stop": NUM_ITEMS, "repeats": {}}
    return [Part(name=f"{number:06d}", task=task, num_items=NUM_ITEMS) for number in range(num_parts)]


@stage(number=1, recipe=ManyRecipe, makes=RawPairs)
def make_many(recipe: ManyRecipe, *, ctx: StageContext) -> None:
    """A step of many parts."""
    ctx.spread(make_nothing, over=parts_of(recipe.num_parts), phase=PHASE)


def many() -> Step[RawPairs]:
    """The pipeline: one step."""
    return make_many.bind("pairs", ManyRecipe(num_parts=int(os.environ[NUM_PARTS_VARIABLE])))


def record_of(part: Part, folder: str) -> PartRecord:
    """The record of a part of a download: two files, a balance with reasons, and who made it."""
    sha256 = hashlib.sha256(part.name.encode()).hexdigest()
    place = f"{folder}/attempts/many-1/{PHASE}/{part.name}-{sha256[:8]}"
    files = [
        FileEntry(name=name, key=f"{place}/{name}", size_bytes=500_000_000, sha256=sha256)
        for name in ("pairs.tar", "samples.parquet")
    ]
    failed = {"not_found": 1500, "timeout": 300, "refused": 40}
    return PartRecord(
        phase=PHASE,
        part=part.name,
        files=tuple(files),
        items=ItemBalance(kept=NUM_ITEMS - 2000, dropped={"too_small": 100, "opt_out": 60}, failed=failed),
        facts={"num_rows": NUM_ITEMS},
        made_by={"attempt": "many-1", "host": "node-17", "num_asked": 9940, "unexplained": [], "seconds": 312.204},
    )


def fill(folder: Path, num_parts: int) -> None:
    """Write what an attempt leaves when it is killed before it commits. Records are written without fsync."""
    store, parts = Store(folder), parts_of(num_parts)
    step = asked_before(store).steps[0]
    folder_key = artifact_folder(step.stage, step.fingerprint)
    writer = ArtifactWriter(store, folder_key, step=step.name, attempt=AttemptId("many", 1))
    store.create_json(f"{folder_key}/inputs.json", {})
    recorded = PartWriter(writer, post=lambda _: None).open_phase(PHASE, parts)
    (folder / folder_key / "records" / PHASE).mkdir(parents=True)
    for part in parts:
        record = record_of(part, folder_key)
        text = json.dumps(record.model_dump(), indent=2, sort_keys=True) + "\n"
        (folder / record_key(folder_key, PHASE, part.name)).write_text(text)
        recorded.add(record)


def plan(store: Store) -> str:
    """Plan the step; returns the decision."""
    decision = planned(TypedSelection(f"{Path(__file__)}:many"), store).decisions[0]
    return f"{decision.action}: {decision.reason}"


def status(store: Store) -> str:
    """Read the progress of the step; returns its description."""
    step = asked_before(store).steps[0]
    return read_progress(store, step.stage, step.fingerprint).describe()


def resume(store: Store) -> str:
    """Execute the step; returns the size of its manifest."""
    made = decide(asked_before(store), store)
    (spec,) = step_specs(made, Run(store, "many"), 2).values()
    manifest = execute_step(spec, local_context, lambda _: None)
    return f"{len(manifest.parts)} parts, {manifest.items.total} items, content {manifest.content[:12]}"


def asked_before(store: Store) -> Request:
    """The frozen plan, without a look at the store for what is made."""
    return freeze(find_pipeline(f"{Path(__file__)}:many"), store, Selection())


def one_by_one(store: Store) -> str:
    """The baseline: read one record in `BASELINE_SHARE`, each by a read of its own; returns their bytes."""
    step = asked_before(store).steps[0]
    prefix = f"{artifact_folder(step.stage, step.fingerprint)}/records/{PHASE}"
    numbers = range(0, int(os.environ[NUM_PARTS_VARIABLE]), BASELINE_SHARE)
    return str(sum(len(store.read(f"{prefix}/{number:06d}.json") or b"") for number in numbers))


MEASURES: dict[str, Callable[[Store], str]] = {
    "one_by_one": one_by_one,
    "plan": plan,
    "status": status,
    "resume": resume,
    "replan": plan,
}


def measure(name: str, url: str) -> None:
    """Print one measure of this process: seconds without the start of Python, and peak memory in MB."""
    store = Store(url)
    started, cpu_started = time.perf_counter(), time.process_time()
    result = MEASURES[name](store)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb, "result": result}))


def compare(url: str) -> None:
    """Run each measure in a fresh process, and print it beside the baseline."""
    baseline_seconds = 0.0
    for name in MEASURES:
        command = [sys.executable, "-m", "benchmarks.many_parts", "--measure", name, "--store", url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured = json.loads(done.stdout)
        seconds = measured["seconds"]
        if name == "one_by_one":
            seconds = baseline_seconds = BASELINE_SHARE * seconds
        ratio = f"x {seconds / baseline_seconds:.3f}"
        spent = f"{seconds:8.2f} s  {measured['cpu_seconds']:6.2f} CPU-s  {measured['peak_mb']:5.0f} MB"
        print(f"{name:10} {spent}  {ratio:8}  {measured['result'][:90]}", flush=True)


def serve(folder: Path, ready: Connection) -> None:
    """Serve the files below a folder by S3, until killed."""
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket(BUCKET, REGION)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        backend.put_object(BUCKET, path.relative_to(folder).as_posix(), path.read_bytes())
    ready.send(server.get_host_and_port())
    time.sleep(24 * 3600)


@contextmanager
def on_s3(folder: Path) -> Iterator[str]:
    """Serve a folder by S3 and point the environment at it; yields the URL of the store."""
    receiver, sender = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(folder, sender), daemon=True)
    server.start()
    host, port = receiver.recv()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
    os.environ |= {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "writer"}
    yield f"s3://{BUCKET}"
    server.kill()


def main() -> None:
    """Fill a store, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-parts", type=int, default=39_000)
    parser.add_argument("--s3", action="store_true", help="on an S3 server instead of a folder")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.store)
        return
    os.environ[NUM_PARTS_VARIABLE] = str(options.num_parts)
    with tempfile.TemporaryDirectory(prefix="neo-many-parts-") as folder:
        # In a process of its own, because the peak memory of a child begins at that of its parent.
        filling = get_context("spawn").Process(target=fill, args=(Path(folder), options.num_parts))
        filling.start()
        filling.join()
        if options.s3:
            with on_s3(Path(folder)) as url:
                compare(url)
        else:
            compare(folder)


if __name__ == "__main__":
    main()
