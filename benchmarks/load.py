"""Loading packed rows, raw and decoded, beside other loaders on the same samples, and the cost of starting at any row.

`python -m benchmarks.load`: a few thousand pairs of 57 KB packed into rows of 16,384 tokens, about 70 pictures each,
and into rows of one picture each, in a folder whose files are in the page cache.

raw      All rows in a globally shuffled order, each checked by its digest. Beside it webdataset on the same tars, which
         checks nothing: in their order, and with shuffled shards and a buffer of 1,000 samples, the nearest it has to a
         global shuffle. The limit is one `pread` for each row.
peers    `--peer mds=PYTHON --peer energon=PYTHON --peer ray=PYTHON`: mosaicml-streaming (samples written as MDS,
         shuffled globally), megatron-energon (the same tars, a buffer of 1,000) and Ray Data's `read_webdataset` (the
         same tars, `random_shuffle`), on the rows of one picture, each in an interpreter that has it installed. Their
         preparation is not counted.
decoded  Every picture as 8-bit RGB at the size in which it was downloaded, beside webdataset's `rgb8`.
start    From opening an artifact to its first row, at several positions among `--num-small-rows` rows.

CPU seconds count, those of a peer's child processes included; the sides alternate, and the median is printed. Readers
and data sets of peers, which serve many passes, are opened before the measurement.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import webdataset
import xxhash

from benchmarks.load_peers.asking import SCRIPTS, peer
from benchmarks.pack import cpu_seconds, show
from benchmarks.pair_world import LLM, draw_of
from cluster.local import make
from neo_model.inputs.pictures import open_pixels
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, stage
from stages.formats.packed_rows.row_format import DocumentFacts, row_key, row_members
from stages.formats.packed_rows.rows import RowReader
from stages.formats.permutation import Shuffle
from stages.formats.sample_table import write_table
from stages.formats.tar import TarWriter
from stages.pack_rows import PackRowsRecipe, pack_rows

LONG = PackRowsRecipe(max_row_tokens=16_384)
"""Rows as training reads them."""
SINGLE = PackRowsRecipe(max_row_tokens=390)
"""Rows with room for one picture, so that all sides read a picture at a time."""
NUM_DECODED_ROWS = 4
SHUFFLE_BUFFER = 1000

Side = Callable[[], tuple[float, int]]
"""A pass over the samples: CPU seconds, and bytes (or values) that were read."""


def read_all(reader: RowReader) -> int:
    """Every row in a shuffled order; returns the bytes of their pictures."""
    order = Shuffle(reader.num_rows, "0").items(np.arange(reader.num_rows))
    return sum(len(image) for number in order.tolist() for image in reader.read(number).images)


def read_by_webdataset(paths: list[str], *, shuffled: bool) -> int:
    """Every sample, its members as bytes."""
    samples = webdataset.WebDataset(paths, shardshuffle=len(paths) if shuffled else False, empty_check=False)
    if shuffled:
        samples = samples.shuffle(SHUFFLE_BUFFER)
    return sum(len(data) for sample in samples for name, data in sample.items() if name.endswith(".jpg"))


def ranges_of(rows: Rows) -> list[tuple[str, int, int]]:
    """Path, offset and size of each row, in the same shuffled order."""
    parts = rows.phase(ROWS_PHASE)
    places = RowReader(rows).index("offset", "size_bytes").to_pylist()
    paths = [path for path, part in zip(paths_of(rows), parts, strict=True) for _ in range(part.facts["num_rows"])]
    order = Shuffle(len(places), "0").items(np.arange(len(places))).tolist()
    return [(paths[number], places[number]["offset"], places[number]["size_bytes"]) for number in order]


def read_ranges(ranges: list[tuple[str, int, int]]) -> None:
    """The limit: only the copies out of the page cache."""
    handles = {path: os.open(path, os.O_RDONLY) for path in {path for path, _, _ in ranges}}
    for path, offset, size_bytes in ranges:
        os.pread(handles[path], size_bytes, offset)
    for handle in handles.values():
        os.close(handle)


def decode_rows(rows: Rows) -> int:
    """Decode the first rows; returns the number of values."""
    reader = RowReader(rows)
    return sum(
        open_pixels(image, max_pixels_px=2**28).size
        for number in range(NUM_DECODED_ROWS)
        for image in reader.read(number).images
    )


def decode_by_webdataset(paths: list[str]) -> int:
    """Decode as many rows by webdataset; returns the number of values."""
    samples = webdataset.WebDataset(paths[:1], shardshuffle=False, empty_check=False).decode("rgb8")
    return sum(
        data.size
        for sample in islice(samples, NUM_DECODED_ROWS)
        for name, data in sample.items()
        if name.endswith(".jpg")
    )


def timed(work: Callable[[], int]) -> Side:
    """A side that runs in this process."""
    results: list[int] = []
    return lambda: (cpu_seconds(lambda: results.append(work())), results[-1])


def alternate(repeats: int, sides: Mapping[str, Side], *, alike: float = 0.0) -> dict[str, float]:
    """Median CPU seconds of each side. What they read may differ by a share of `alike`."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    read = []
    for _ in range(repeats):
        for name, side in sides.items():
            seconds, size = side()
            taken[name].append(seconds)
            read.append(size)
    assert max(read) <= min(read) * (1 + alike), f"all sides must read the same pictures: {sorted(set(read))}"
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def bench_raw(rows: Rows, repeats: int, peers: Mapping[str, Side]) -> None:
    """Rows in shuffled order, beside webdataset and `peers`. Endless peers may read a few samples twice in a pass."""
    paths = paths_of(rows)
    reader = RowReader(rows)
    num_rows, row_tokens = reader.num_rows, reader.row_tokens
    num_images = sum(part.facts["num_images"] for part in rows.phase(ROWS_PHASE))
    mib = sum(part.file(ROWS_FILE).size_bytes for part in rows.phase(ROWS_PHASE)) / 2**20
    print(f"{num_rows:,} rows of {row_tokens:,} tokens, {num_images:,} pictures, {mib:,.0f} MiB")
    sides = {
        "rows, shuffled and checked": timed(lambda: read_all(reader)),
        "webdataset, shuffled in a buffer": timed(lambda: read_by_webdataset(paths, shuffled=True)),
        "webdataset, in order": timed(lambda: read_by_webdataset(paths, shuffled=False)),
        **peers,
    }
    ranges = ranges_of(rows)
    limit = statistics.median(cpu_seconds(lambda: read_ranges(ranges)) for _ in range(repeats))
    seconds = alternate(repeats, sides, alike=0.02 if peers else 0.0)
    ours = next(iter(seconds.values()))
    for name, taken in {**seconds, "one pread a row": limit}.items():
        show(name, pictures=f"{num_images / taken:,.0f}/s", times_as_fast_as_it=f"{taken / ours:.2f}")


def bench_decoded(rows: Rows, repeats: int) -> None:
    """Decoded rows, beside webdataset's `rgb8`."""
    num_decoded = sum(len(RowReader(rows).read(number).images) for number in range(NUM_DECODED_ROWS))
    sides = {
        "decoded rows": timed(lambda: decode_rows(rows)),
        "decoded by webdataset": timed(lambda: decode_by_webdataset(paths_of(rows))),
    }
    seconds = alternate(repeats, sides)
    for name, taken in seconds.items():
        ratio = f"{taken / seconds['decoded rows']:.2f}"
        show(name, pictures=f"{num_decoded / taken:,.0f}/s", times_as_fast_as_it=ratio)


def paths_of(rows: Rows) -> list[str]:
    """The tars of rows, as local paths."""
    assert rows.store.folder is not None, "the store of a benchmark is a folder"
    return [str(rows.store.folder / part.file(ROWS_FILE).key) for part in rows.phase(ROWS_PHASE)]


class SmallRowsRecipe(Recipe):
    """How many rows of sixteen tokens are made."""

    max_row_tokens: int = 16
    num_rows: int
    num_rows_per_part: int = 5000


def write_small_rows(part: Part, draft: PartDraft, num_rows: int) -> None:
    """Write rows of sixteen tokens of text: as many as a long training has, and small."""
    tokens, mask = np.arange(16, dtype=np.int32), np.ones(16, bool)
    facts = [DocumentFacts(sample_id=bytes(16), source="t", repetition=0, piece=0, num_tokens=16, num_pictures=0)]
    places, first = [], int(part.name) * num_rows
    with TarWriter(draft.path(ROWS_FILE)) as tar:
        members = row_members(tokens, mask, facts, (), ())
        for number in range(first, first + num_rows):
            offset = tar.size_bytes
            tar.add(row_key(number), members)
            work = {"num_tokens": 16, "num_pairs": 136, "num_patches": 0, "num_supervised": 15}
            places.append({"row": number, "offset": offset, "size_bytes": tar.size_bytes - offset, **work})
    data = draft.path(ROWS_FILE).read_bytes()
    for place in places:
        place["digest"] = xxhash.xxh3_64_intdigest(data[place["offset"] : place["offset"] + place["size_bytes"]])
    kinds = {"digest": pa.uint64(), "num_tokens": pa.int32(), "num_patches": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in places[0]])
    write_table(pa.Table.from_pylist(places, schema=schema), draft.path(ROW_INDEX_FILE))
    draft.count(ItemBalance(kept=num_rows))
    draft.fact(first_row=first, num_rows=num_rows)


@stage(number=1, recipe=SmallRowsRecipe, makes=Rows)
def make_small_rows(recipe: SmallRowsRecipe, *, ctx: StageContext) -> None:
    """Rows of sixteen tokens of text."""
    parts = [Part(name=f"{number:05d}") for number in range(recipe.num_rows // recipe.num_rows_per_part)]
    ctx.spread(partial(write_small_rows, num_rows=recipe.num_rows_per_part), over=parts, phase=ROWS_PHASE)


def bench_start(rows: Rows, repeats: int) -> None:
    """From opening an artifact to its first row: at the start, in the middle and at the end."""
    paths = paths_of(rows)
    num_rows = RowReader(rows).num_rows
    print(f"{num_rows:,} rows in {len(paths)} tars")
    for number in (0, num_rows // 2, num_rows - 1):
        taken = [cpu_seconds(lambda: RowReader(rows).read(number)) for _ in range(repeats)]  # noqa: B023
        show(f"to row {number:,} and its data", milliseconds=f"{1000 * statistics.median(taken):.2f}")
    to = min(num_rows // 2, 20_000)
    samples = iter(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
    skipping = cpu_seconds(lambda: [next(samples) for _ in range(to)])
    show(f"webdataset, skipping to row {to:,}", milliseconds=f"{1000 * skipping:,.0f}")


def peer_of(text: str) -> tuple[str, Path]:
    """`NAME=PYTHON`, for the command line."""
    name, _, python = text.partition("=")
    if name not in SCRIPTS or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PYTHON with a name of {', '.join(SCRIPTS)}")
    return name, Path(python)


def main() -> None:
    """Make the rows, then run the benchmarks that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", choices=("raw", "decoded", "start"))
    parser.add_argument("--num-pairs", type=int, default=5000, help="pairs packed and read, 57 KB each")
    parser.add_argument("--num-small-rows", type=int, default=100_000, help="rows among which to start, 3 KB each")
    parser.add_argument("--peer", type=peer_of, action="append", default=[], help="NAME=PYTHON, several times")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the rows are made for a while")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, ExitStack() as running:
        made = partial(make_rows, Path(folder), asked.num_pairs)
        if asked.only in (None, "raw"):
            bench_raw(made(LONG), asked.repeats, {})
            single = made(SINGLE)
            peers = {
                name: running.enter_context(peer(name, python, Path(folder), paths_of(single))).read_all
                for name, python in asked.peer
            }
            bench_raw(single, asked.repeats, peers)
        if asked.only in (None, "decoded"):
            bench_decoded(made(LONG), asked.repeats)
        if asked.only in (None, "start"):
            small = make_small_rows.bind("small", SmallRowsRecipe(num_rows=asked.num_small_rows))
            bench_start(make(small, Path(folder)), asked.repeats)


def make_rows(folder: Path, num_pairs: int, recipe: PackRowsRecipe) -> Rows:
    """Pack `num_pairs` pairs into rows."""
    return make(pack_rows.bind("rows", recipe, draw_of(num_pairs), LLM), folder)


if __name__ == "__main__":
    main()
