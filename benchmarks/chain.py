"""What a long chain of large artifacts costs who reads it: plan, status, trace and report, by heads and by manifests.

`python -m benchmarks.chain [--num-parts 39000] [--num-steps 20] [--s3 [--delay 0.03]]`: a chain of committed
artifacts, each made from the one before, of records as `download_pairs` leaves them and without data, in a folder or on
an S3 server (moto) on this machine, behind a proxy that holds each request back. Each measure runs in a fresh process.
Beside its CPU seconds and peak memory stand what it asked of the store: requests, and the bytes of all answers. The
last column compares its CPU seconds with those of the baseline.

    manifests  the baseline: the chain walked with every manifest parsed and held, as lineage did without heads
    plan       `neo plan` of the pipeline, all of which is committed
    status     the decisions for a frozen run, as `neo status` and `neo resume` take them
    trace      the lineage of the last artifact, and what `neo trace` says of each
    report     the end of a run: what each step holds, and the lineage drawn as a picture
    roots      the Merkle root of each artifact, and what `neo get` records of the chain

All but the baseline run twice: in a store without heads, as those of before are, and with them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.many_parts import NUM_PARTS_VARIABLE, on_s3, parts_of, record_of
from benchmarks.reads import DelayingProxy
from pipelines.commands.selection import TypedSelection, planned
from pipelines.commands.trace import lineage_table
from pipelines.lineage.graph import lineage_of
from pipelines.outside.copy_record import record_bytes
from pipelines.planning.catalog import find_pipeline
from pipelines.planning.plan import decide
from pipelines.planning.request import FrozenStep, Request, Selection, freeze
from pipelines.running.summary import committed_steps
from pipelines.tracking.graph_picture import lineage_picture
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.kinds import RawPairs
from stages.artifacts.manifest import Manifest, content_digest, manifest_bytes, manifest_key, read_manifest
from stages.artifacts.records import InputRecord, total
from stages.contract import Recipe, StageContext, stage
from stages.contract.binding import Step
from stages.exporting.lineage_file import chain_problems, opened
from stages.store.reader import StoreReader
from stages.store.store import Store

NUM_STEPS_VARIABLE = "NEO_BENCHMARK_STEPS"
PLACEHOLDER = "artifacts/extend_chain/" + SHOWN_DIGITS * "x"
"""Stands for the folder of an artifact in records that are spelled once for all of them."""


class LinkRecipe(Recipe):
    """Which link of the chain."""

    number: int


@stage(number=1, recipe=LinkRecipe, makes=RawPairs)
def begin_chain(recipe: LinkRecipe, *, ctx: StageContext) -> None:  # noqa: ARG001
    """The first link. Never executed."""
    raise AssertionError(f"link {recipe.number} is committed and is made again")


@stage(number=1, recipe=LinkRecipe, makes=RawPairs)
def extend_chain(recipe: LinkRecipe, before: RawPairs, *, ctx: StageContext) -> None:  # noqa: ARG001
    """A link that reads the one before. Never executed."""
    raise AssertionError(f"link {recipe.number} is committed and is made again")


def chain() -> Step[RawPairs]:
    """The pipeline: one link after the other."""
    link = begin_chain.bind("link_0", LinkRecipe(number=0))
    for number in range(1, int(os.environ[NUM_STEPS_VARIABLE])):
        link = extend_chain.bind(f"link_{number}", LinkRecipe(number=number), link)
    return link


def asked(store: Store) -> Request:
    """The frozen plan of the whole chain."""
    return freeze(find_pipeline(f"{Path(__file__)}:chain"), store, Selection())


def fill(folder: Path, num_parts: int) -> None:
    """Commit the chain, with manifests and heads and nothing else."""
    store = Store(folder)
    records = tuple(record_of(part, PLACEHOLDER) for part in parts_of(num_parts))
    content, items = content_digest(records), total(record.items for record in records)
    steps = asked(store).steps
    by_name = {step.name: step for step in steps}
    for step in steps:
        manifest = Manifest(
            kind=step.makes,
            stage=step.stage,
            number=step.number,
            fingerprint=step.fingerprint,
            recipe=step.recipe,
            inputs={name: _record_of(by_name[item.step], content) for name, item in step.inputs.items()},
            items=items,
            content=content,
            versions={},
            provenance={"step": step.name, "attempt": "chain-1"},
            parts=records,
        )
        place = f"artifacts/{step.stage}/{step.fingerprint[:SHOWN_DIGITS]}"
        data = manifest_bytes(manifest).replace(PLACEHOLDER.encode(), place.encode())
        (folder / place).mkdir(parents=True)
        (folder / manifest_key(step.stage, step.fingerprint)).write_bytes(data)
        (folder / head_key(step.stage, step.fingerprint)).write_bytes(head_bytes(head_of(data)))


def _record_of(step: FrozenStep, content: str) -> InputRecord:
    return InputRecord(stage=step.stage, fingerprint=step.fingerprint, content=content)


def manifests(store: Store) -> str:
    """Read and hold every manifest of the chain, one after the other."""
    held = [read_manifest(store, step.stage, step.fingerprint) for step in asked(store).steps]
    return f"{sum(len(one.parts) for one in held if one)} parts"


def plan(store: Store) -> str:
    """Plan the chain; returns the actions."""
    return str(dict(Counter(one.action for one in planned(TypedSelection(f"{Path(__file__)}:chain"), store).decisions)))


def status(store: Store) -> str:
    """Decide for a frozen run; returns the actions."""
    return str(dict(Counter(one.action for one in decide(asked(store), store).decisions)))


def trace(store: Store) -> str:
    """Read the lineage of the last link; returns its size."""
    last = asked(store).steps[-1]
    lineage = lineage_of(store, last.stage, last.fingerprint)
    num_parts = sum(node.head.num_parts for node in lineage.nodes if node.head)
    return f"{lineage_table(lineage).num_rows} artifacts, {num_parts} parts"


def roots(store: Store) -> str:
    """Compute the roots of the chain, and check them; returns the last."""
    last = asked(store).steps[-1]
    document = opened(record_bytes(open_artifact(store, last.stage, last.fingerprint, Artifact)))
    if problems := list(chain_problems(document)):
        raise AssertionError(problems)
    return f"{len(document['artifacts'])} artifacts, root {document['artifacts'][-1]['root'][:12]}"


def report(store: Store) -> str:
    """Read what the end of a run shows, and draw the lineage; returns its size."""
    made = committed_steps(decide(asked(store), store), store)
    last = asked(store).steps[-1]
    with tempfile.TemporaryDirectory() as folder:
        drawn = lineage_picture(lineage_of(store, last.stage, last.fingerprint), Path(folder) / "lineage.png")
        return f"{len(made)} steps, a picture of {drawn.stat().st_size} bytes"


MEASURES: dict[str, Callable[[Store], str]] = {
    "manifests": manifests,
    "plan": plan,
    "status": status,
    "trace": trace,
    "report": report,
    "roots": roots,
}


def count_requests() -> Counter[str]:
    """Count from now on what is asked of any store: `requests`, and the `bytes` of the answers."""
    asked_for: Counter[str] = Counter()

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            asked_for["requests"] += 1
            asked_for["bytes"] += len(answer) if isinstance(answer, bytes) else 0
            return answer

        return ask

    for name in ("read", "read_range", "size_bytes", "keys", "folders"):
        setattr(StoreReader, name, counted(getattr(StoreReader, name)))
    return asked_for


def measure(name: str, url: str) -> None:
    """Print one measure of this process: CPU seconds without the start of Python, peak memory in MB, requests."""
    store, asked_for = Store(url), count_requests()
    started, cpu_started = time.perf_counter(), time.process_time()
    result = MEASURES[name](store)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"cpu": cpu_seconds, "seconds": seconds, "peak_mb": peak_mb, "result": result, **asked_for}))


def compare(url: str, names: list[str], baseline_cpu: float = 0.0) -> float:
    """Run measures in fresh processes and print them; returns the CPU seconds of the baseline."""
    for name in names:
        command = [sys.executable, "-m", "benchmarks.chain", "--measure", name, "--store", url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        one = json.loads(done.stdout.splitlines()[-1])
        baseline_cpu = one["cpu"] if name == "manifests" else baseline_cpu
        spent = f"{one['cpu']:7.2f} CPU-s {one['seconds']:7.2f} s {one['peak_mb']:6.0f} MB"
        asked_for = f"{one['requests']:4} requests {one['bytes']:11,} bytes"
        print(f"{name:10} {spent}  {asked_for}  x {one['cpu'] / baseline_cpu:.3f}  {one['result']}", flush=True)
    return baseline_cpu


def main() -> None:
    """Fill a store, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-parts", type=int, default=39_000)
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--s3", action="store_true", help="on an S3 server instead of a folder")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds by which each request to it is held back")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.store)
        return
    os.environ[NUM_PARTS_VARIABLE] = str(options.num_parts)
    os.environ[NUM_STEPS_VARIABLE] = str(options.num_steps)
    with tempfile.TemporaryDirectory(prefix="neo-chain-") as folder:
        # In a process of its own, because the peak memory of a child begins at that of its parent.
        filling = get_context("spawn").Process(target=fill, args=(Path(folder), options.num_parts))
        filling.start()
        filling.join()
        readers = [name for name in MEASURES if name != "manifests"]
        with on_s3(Path(folder)) if options.s3 else nullcontext(folder) as url:
            if options.delay:
                server = os.environ["AWS_ENDPOINT_URL"]
                proxy = DelayingProxy(int(server.rpartition(":")[2]), options.delay)
                os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
            baseline_cpu = compare(url, ["manifests"])
            print("with heads:")
            compare(url, readers, baseline_cpu)
        for head in Path(folder).glob("artifacts/*/*/head.json"):
            head.unlink()
        print("without heads, on a folder:")
        compare(folder, readers, baseline_cpu)


if __name__ == "__main__":
    main()
