"""Cutting a URL table into parts: time per million rows and peak memory, at two sizes, beside a list of all rows.

    python -m benchmarks.tabulate --num-rows 10000000

A table of Parquet files (URL, caption, a score; one row in a hundred repeats another) is tabulated by a stage in one
process, which does the work of all parts too: its peak is an upper bound of what a driver needs. The baseline is
`slice_rows`, which holds an id for each row, on the smaller table. Each side runs in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.artifacts.artifact import Artifact
from stages.contract import Recipe, Source, StageContext, stage

ROWS_PER_FILE = 1_000_000
ROWS_PER_PART = 1_000


class Tabulated(Artifact):
    """Holds the phases of `tabulate` and nothing else."""


class TabulateRecipe(Recipe):
    """What is tabulated."""

    source: Source
    """The table."""


@stage(number=1, recipe=TabulateRecipe, makes=Tabulated)
def tabulate_urls(recipe: TabulateRecipe, *, ctx: StageContext) -> None:
    """Cut a URL table into parts, and say how many there are."""
    from stages.download.url_rows import NAMING_COLUMNS
    from stages.origins.row_files import WantedRows
    from stages.origins.row_parts import RowStretch, tabulate

    wanted = WantedRows(num_rows_per_part=ROWS_PER_PART, text=NAMING_COLUMNS, naming=NAMING_COLUMNS)
    rows = tabulate(ctx, ctx.pinned(recipe.source), wanted)
    num_repeats = sum(RowStretch.of(part).num_ordinals for part in rows.parts)
    print(
        f"{len(rows.parts):,} parts, {sum(part.num_items or 0 for part in rows.parts):,} rows, {num_repeats:,} repeats"
    )


def write_table(folder: Path, num_rows: int) -> None:
    """Write a URL table as Parquet files of `ROWS_PER_FILE` rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, num_rows, ROWS_PER_FILE)):
        rows = np.arange(first, min(first + ROWS_PER_FILE, num_rows))
        rows[::100] = first  # all of these are one row, there again and again
        text = pc.cast(pa.array(rows), pa.string())
        urls = pc.binary_join_element_wise("https://images.example.org/photos", text, "large.jpg", "/")
        captions = pc.binary_join_element_wise("a photograph of something, number", text, " ")
        table = pa.table({"url": urls, "caption": captions, "similarity": pa.array(rows % 100 / 100)})
        pq.write_table(table, folder / f"{number:05d}.parquet", row_group_size=100_000)


def run_tabulate(folder: Path) -> None:
    """Tabulate the table in `folder`, in this process."""
    from cluster.local import make

    with tempfile.TemporaryDirectory(dir=folder.parent) as store:
        make(tabulate_urls.bind("urls", TabulateRecipe(source=Source("urls"))), store, sources={"urls": str(folder)})


def run_list(folder: Path) -> None:
    """List all rows of the table in `folder`, in this process, and cut them."""
    import pyarrow.parquet as pq

    from stages.download.url_rows import url_fields
    from tests.worlds.whole_table import slice_rows

    table = pq.read_table(folder, columns=["url", "caption"])
    print(f"{len(slice_rows(url_fields(table), ROWS_PER_PART)):,} parts")


SIDES: dict[str, Any] = {"tabulate": run_tabulate, "list": run_list}


def measured(side: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a process of its own."""
    program = [sys.executable, "-m", "benchmarks.tabulate", "--side", side, "--folder", str(folder)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    *said, last = done.stdout.splitlines()
    cpu_seconds, peak_mb, wall_seconds = map(float, last.split())
    print(f"  {side:9s} {cpu_seconds:7.1f} CPU s, {wall_seconds:7.1f} s, {peak_mb:7.0f} MB   {' '.join(said)}")
    return cpu_seconds, peak_mb


def one_side(side: str, folder: Path) -> None:
    """Run one side here and print its cost in the last line."""
    started = time.monotonic()
    SIDES[side](folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss / 1024} {time.monotonic() - started}")


def compare(num_rows: int, folder: Path) -> None:
    """Measure both sizes of `tabulate`, and the list at the smaller one."""
    small = max(1000, num_rows // 10)
    costs = {}
    for size in (small, num_rows):
        print(f"{size:,} rows")
        write_table(folder / str(size), size)
        costs[size] = measured("tabulate", folder / str(size))
    print(f"{small:,} rows, listed")
    list_seconds, list_mb = measured("list", folder / str(small))
    (small_seconds, small_mb), (seconds, mb) = costs[small], costs[num_rows]
    growth = (mb - small_mb) * 2**20 / (num_rows - small)
    print(f"time: {seconds / small_seconds:.1f} times for {num_rows / small:.0f} times the rows")
    print(
        f"      {seconds / num_rows * 1e6:.1f} CPU s a million rows; {small_seconds / list_seconds:.1f} times the list"
    )
    print(
        f"memory: {mb:.0f} MB at {num_rows:,} rows, {growth:.0f} bytes a further row; the list takes {list_mb:.0f} MB "
        f"at {small:,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--side", choices=sorted(SIDES))
    arguments = parser.parse_args()
    if arguments.side:
        one_side(arguments.side, arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        compare(arguments.num_rows, Path(folder))


if __name__ == "__main__":
    main()
