"""Counting content by domain, as `neo disclose --eu` does: time and memory at two sizes, beside counting row by row.

`python -m benchmarks.domains [--num-rows 5000000]`: sample tables of 10,000 rows in a folder, with URLs of as many
domains as LAION's lists have for so many rows (a long tail: every 70th row or so brings a new one), counted by columns
with 8 tables side by side. Beside it stands the same sum row by row in Python, over a fiftieth of the tables. Each
measure runs in a fresh process; CPU seconds count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.disclosure.domains import DomainCounts
from pipelines.indexes.domains import domain_of
from pipelines.indexes.tables import PartTable
from stages.store.store import Store
from stages.takedowns.hosts import plain_host

ROWS_PER_PART = 10_000
NEW_DOMAIN_EVERY = 70


def fill(folder: Path, num_rows: int) -> None:
    """Write the tables."""
    chance = np.random.default_rng(7)
    for part in range(num_rows // ROWS_PER_PART):
        known = 1000 + (part + 1) * ROWS_PER_PART // NEW_DOMAIN_EVERY
        domains = np.minimum(chance.zipf(1.25, ROWS_PER_PART), known)
        newest = chance.random(ROWS_PER_PART) < 1 / NEW_DOMAIN_EVERY
        domains = np.where(newest, chance.integers(1, known + 1, ROWS_PER_PART), domains)
        hosts = [f"img{number % 3}.shop{number}.{('com', 'co.uk', 'org')[number % 3]}" for number in domains]
        urls = [f"https://{host}/p/{part}-{row}.jpg?w=640" for row, host in enumerate(hosts)]
        table = {
            "url": pa.array(urls),
            "verdict": pa.array(np.where(chance.random(ROWS_PER_PART) < 0.8, "kept", "failed")),
            "image_size_bytes": pa.array(chance.integers(2_000, 60_000, ROWS_PER_PART)),
        }
        pq.write_table(pa.table(table), folder / f"{part:06}.parquet", compression="zstd")


def tables_of(folder: Path, share: float = 1.0) -> list[PartTable]:
    """The tables of a folder, or the first of them."""
    paths = sorted(folder.glob("*.parquet"))
    return [PartTable(path.stem, path.name, path.stat().st_size, ()) for path in paths[: int(len(paths) * share) or 1]]


def by_columns(folder: Path, share: float) -> int:
    """What is measured; returns the number of domains."""
    with tempfile.TemporaryDirectory() as scratch:
        counts = DomainCounts(Path(scratch))
        counts.add_tables(Store(folder), tables_of(folder, share))
        ranked = counts.ranked()
        ranked.top(ranked.num_listed(0.10))
        return ranked.num_domains


def row_by_row(folder: Path, share: float) -> int:
    """The baseline; returns the number of domains."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for table in tables_of(folder, share):
        for row in table.open(Store(folder)).read().to_pylist():
            if row["verdict"] == "kept":
                one = sums[domain_of(plain_host(urlsplit(row["url"]).hostname or ""))]
                one[0] += row["image_size_bytes"]
                one[1] += 1
    return len(sums)


def measure(name: str, folder: Path, share: float) -> None:
    """Print one measure of this process as JSON."""
    started = time.process_time()
    num_domains = {"by_columns": by_columns, "row_by_row": row_by_row}[name](folder, share)
    spent = time.process_time() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    num_rows = len(tables_of(folder, share)) * ROWS_PER_PART
    print(json.dumps({"cpu": spent, "peak_mb": peak_mb, "num_domains": num_domains, "num_rows": num_rows}))


def compare(folder: Path) -> None:
    """Run the measures in fresh processes, and print them."""
    baseline = 0.0
    for name, share in (("row_by_row", 0.02), ("by_columns", 0.1), ("by_columns", 1.0)):
        command = [sys.executable, "-m", "benchmarks.domains", "--measure", name, "--folder", str(folder)]
        done = subprocess.run([*command, "--share", str(share)], check=True, capture_output=True, text=True)
        one = json.loads(done.stdout.splitlines()[-1])
        rate = one["num_rows"] / one["cpu"]
        baseline = baseline or rate
        print(
            f"{name:11} {one['num_rows']:>11,} rows {one['num_domains']:>9,} domains {one['cpu']:8.1f} CPU-s "
            f"{rate:>9,.0f} rows/CPU-s  x {rate / baseline:.1f}  peak {one['peak_mb']:,.0f} MB",
            flush=True,
        )


def main() -> None:
    """Fill a folder, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-rows", type=int, default=5_000_000)
    parser.add_argument("--measure", choices=("by_columns", "row_by_row"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder, options.share)
        return
    with tempfile.TemporaryDirectory(prefix="neo-domains-") as folder:
        fill(Path(folder), options.num_rows)
        compare(Path(folder))


if __name__ == "__main__":
    main()
