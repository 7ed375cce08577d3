"""The cost of taking over the parts of a download by reference, of many thousand parts: planned, recorded, compared.

`python -m benchmarks.take_over [--num-parts 39000]`: a committed download of records as `download_pairs` leaves them,
in a folder on this machine. Each measure runs in a fresh process; beside its seconds and peak memory stands the ratio
of its wall time to that of reading a tenth of the records one by one, times ten, in the same minutes.

    plan      which rows are fetched again, in which parts, from the manifest alone
    record    a step executed that takes over all parts: a record created for each, the manifest folded and committed
    again     the same step once more: nothing to do
    compare   which parts of both artifacts hold the same rows, as every stage after them asks
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import many_parts
from benchmarks.many_parts import NUM_PARTS_VARIABLE, PHASE, ManyRecipe, fill, make_nothing, one_by_one, resume
from cluster.local import local_context, make
from pipelines.planning.catalog import find_pipeline
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import RawPairs
from stages.artifacts.taken_over import unchanged_parts, with_superseded
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import execute_step
from stages.commit.step_spec import StepSpec
from stages.contract import Part, StageContext, stage
from stages.contract.binding import Step
from stages.download.failed_rows import parts_to_retry
from stages.store.store import Store

REASONS = ("timeout",)


@stage(number=1, recipe=ManyRecipe, makes=RawPairs)
def extend_many(_: ManyRecipe, extends: RawPairs, *, ctx: StageContext) -> None:
    """Take all parts over, as a retry does, and make none."""
    taken = [with_superseded(record, REASONS) for record in extends.each_part()]
    over = [Part(name=record.part, num_items=record.items.total) for record in taken]
    ctx.spread(make_nothing, over=over, phase=PHASE, taken=taken)


def steps() -> tuple[Step[RawPairs], Step[RawPairs]]:
    """The download, and the step that takes it over."""
    before = find_pipeline(f"{many_parts.__file__}:many").steps["pairs"]
    return before, extend_many.bind("extended", ManyRecipe(num_parts=0), before)


def opened(store: Store, step: Step[RawPairs]) -> RawPairs:
    return open_artifact(store, step.stage.name, step.fingerprint, RawPairs)


def plan(store: Store) -> str:
    """Plan a retry of the download."""
    parts = parts_to_retry(opened(store, steps()[0]).parts, REASONS, 10_000)
    return f"{sum(part.num_items or 0 for part in parts):,} rows in {len(parts):,} parts"


def record(store: Store) -> str:
    """Execute the step that takes all over."""
    manifest = execute_step(StepSpec.of(steps()[1], store, AttemptId("taking", 1)), local_context, lambda _: None)
    return f"{len(manifest.parts):,} parts, {manifest.items.total:,} items"


def again(store: Store) -> str:
    """Make the step a second time."""
    return repr(make(steps()[1], store))


def compare(store: Store) -> str:
    """Compare the parts of both artifacts."""
    before, extended = steps()
    return f"{len(unchanged_parts(opened(store, extended), opened(store, before))):,} parts did not change"


MEASURES: dict[str, Callable[[Store], str]] = {
    "one_by_one": one_by_one,
    "plan": plan,
    "record": record,
    "again": again,
    "compare": compare,
}


def measure(name: str, folder: str) -> None:
    """Print one measure of this process: seconds without the start of Python, and peak memory in MB."""
    store = Store(folder)
    started, cpu_started = time.perf_counter(), time.process_time()
    result = MEASURES[name](store)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    # `ru_maxrss` of a child begins with the peak of the process that started it; this is its own.
    (peak_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    measured = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": int(peak_kb) / 1000, "result": result}
    print(json.dumps(measured))


def main() -> None:
    """Write the download, measure, and print a line for each measure."""
    parser = argparse.ArgumentParser(description="The cost of taking over parts by reference.")
    parser.add_argument("--num-parts", type=int, default=39_000)
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "FOLDER"))
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure)
        return
    os.environ[NUM_PARTS_VARIABLE] = str(args.num_parts)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), args.num_parts)
        resume(Store(folder))
        baseline = 0.0
        for name in MEASURES:
            command = [sys.executable, "-m", "benchmarks.take_over", "--measure", name, folder]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            baseline = baseline or 10 * said["seconds"]
            ratio = 1.0 if name == "one_by_one" else said["seconds"] / baseline
            seconds = baseline if name == "one_by_one" else said["seconds"]
            cpu = f"{said['cpu_seconds']:6.2f} CPU s"
            print(f"{name:11} {seconds:7.2f} s  {ratio:6.2f} x  {cpu}  {said['peak_mb']:5.0f} MB  {said['result']}")


if __name__ == "__main__":
    main()
