"""What the process of `download_pairs` reads of a large Parquet list before its parts begin: footers, and first rows.

    python -m benchmarks.footers --num-rows 100000000

One file of `ROWS_PER_FILE` rows and some 400 MB stands under as many names as make the list, so that it takes no more
room. The list is cut into the parts that read it, as the stage does, at a tenth of the rows and at all of them, each in
a process of its own, with the bytes that were read, the time and the peak memory. The baseline reads the two columns
that rows are named by, of one file, as a look at each row would, times the number of files.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.contract import PinnedFile, PinnedSource

ROWS_PER_FILE = 3_125_000
BYTES_A_ROW = 40
"""Of a column that is carried along, such as an embedding would be."""
ROWS_PER_GROUP = 125_000


def write_file(path: Path) -> None:
    """Write the file that the list is made of: URLs and captions of the usual length, and a carried column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    urls = pa.array([f"https://images.example.org/{number:09d}.jpg" for number in range(ROWS_PER_GROUP)])
    carried = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(BYTES_A_ROW), ROWS_PER_GROUP, [None, pa.py_buffer(bytes(BYTES_A_ROW * ROWS_PER_GROUP))]
    )
    group = pa.table({"url": urls, "caption": urls, "carried": carried})
    with pq.ParquetWriter(path, group.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(ROWS_PER_FILE // ROWS_PER_GROUP):
            writer.write_table(group, row_group_size=ROWS_PER_GROUP)


def cut(folder: Path, num_files: int) -> str:
    """Cut the first files of the list into the parts that read it; returns how many there are."""
    from stages.contract import Source
    from stages.download_pairs import DownloadPairsRecipe, check_scores
    from stages.origins.pieces import pieces_of
    from stages.origins.row_files import groups_of
    from stages.origins.row_parts import GROUP_BYTES

    paths = [path.name for path in sorted(folder.glob("*.parquet"))][:num_files]
    files = tuple(
        PinnedFile(path=name, size_bytes=(folder / name).stat().st_size, sha256=64 * "0", etag="") for name in paths
    )
    pinned = PinnedSource(name="urls", place=str(folder), files=files)
    recipe = DownloadPairsRecipe(source=Source("urls"))
    check_scores(pinned, recipe)
    return f"{len(list(groups_of(pieces_of(pinned, recipe.table_options), GROUP_BYTES)))} parts read the rows"


def look(folder: Path, num_files: int) -> str:
    """Read the naming columns of one file; the cost of all is that of one times their number."""
    import pyarrow.parquet as pq

    path = min(folder.glob("*.parquet"))
    return f"{pq.read_table(path, columns=['url', 'caption']).num_rows} rows of one file of {num_files}"


SIDES = {"cut": cut, "look": look}


def one_side(side: str, folder: Path, num_files: int) -> None:
    """Do one side here, and print what it cost."""
    import pyarrow.parquet  # noqa: F401

    import stages.download_pairs  # noqa: F401

    before = _read_bytes()
    started = time.perf_counter(), time.process_time()
    said = SIDES[side](folder, num_files)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"said": said, "wall": wall, "cpu": cpu, "peak_mb": peak_mb, "read": _read_bytes() - before}))


def _read_bytes() -> int:
    """Bytes that this process has read by system calls."""
    return int(Path("/proc/self/io").read_text().split()[1])


def compare(num_rows: int, folder: Path) -> None:
    """Write the list, then measure both sides."""
    num_files = max(1, num_rows // ROWS_PER_FILE)
    first = folder / "00000.parquet"
    write_file(first)
    for number in range(1, num_files):
        (folder / f"{number:05d}.parquet").hardlink_to(first)
    size_bytes = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    print(f"{num_files} files, {num_files * ROWS_PER_FILE:,} rows, {size_bytes / 1e9:.1f} GB")
    look_seconds = 0.0
    for side, number in (("look", num_files), ("cut", max(1, num_files // 10)), ("cut", num_files)):
        command = [sys.executable, "-m", "benchmarks.footers", "--side", side, "--folder", str(folder)]
        done = subprocess.run([*command, "--num-files", str(number)], check=True, capture_output=True, text=True)
        cost = json.loads(done.stdout)
        factor = num_files if side == "look" else 1
        seconds = cost["cpu"] * factor
        look_seconds = look_seconds or seconds
        print(
            f"{side} {number:3} files {seconds:7.2f} CPU-s {cost['wall'] * factor:7.2f} s {cost['peak_mb']:5.0f} MB "
            f"read {cost['read'] * factor / 1e6:8.2f} MB  x {seconds / look_seconds:.4f}  {cost['said']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-rows", type=int, default=100_000_000)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--num-files", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_side(options.side, options.folder, options.num_files)
        return
    with tempfile.TemporaryDirectory(prefix="neo-footers-") as folder:
        compare(options.num_rows, Path(folder))


if __name__ == "__main__":
    main()
