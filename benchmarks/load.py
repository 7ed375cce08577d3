"""Loading packed rows: raw and decoded, beside webdataset on the same tars, and from anywhere at the same cost.

`python -m benchmarks.load`: a few thousand pairs of 57 KB packed into rows of 16,384 tokens, about 70 pictures each,
in /dev/shm. Rows are read in a globally shuffled order, each checked by its digest; webdataset reads its shards in
their order and checks nothing. Decoded means every picture as 8-bit RGB at the size in which it was downloaded.

CPU seconds of the process count; the sides alternate, the median is printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import webdataset
import xxhash

from benchmarks.pack import cpu_seconds, show
from benchmarks.pair_world import LLM, draw_of, make
from neo_model.pictures import open_picture
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext
from stages.kinds import Rows
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.row_layout import DocumentFacts, row_key, row_members
from stages.rows import INDEX_FILE, ROWS_FILE, ROWS_PHASE, RowReader
from stages.shuffle import Shuffle
from stages.step import stage
from stages.tables import write_table
from stages.tar_writer import TarWriter

LONG = PackRowsRecipe(max_row_tokens=16_384, num_rows_per_part=16)
"""Rows as training reads them."""
SINGLE = PackRowsRecipe(max_row_tokens=390, num_rows_per_part=1000)
"""Rows with room for one picture, so that both sides read a picture at a time."""
NUM_DECODED_ROWS = 4


def read_all(rows: Rows, seed: int) -> int:
    """Every row in a shuffled order; returns the bytes of their pictures."""
    reader = RowReader(rows)
    order = Shuffle(reader.num_rows, f"{seed}").items(np.arange(reader.num_rows))
    return sum(len(image) for number in order.tolist() for image in reader.read(number).images)


def read_by_webdataset(paths: list[str]) -> int:
    """Every sample, its members as bytes."""
    samples = webdataset.WebDataset(paths, shardshuffle=False, empty_check=False)
    return sum(len(data) for sample in samples for name, data in sample.items() if name.endswith(".jpg"))


def decode_rows(rows: Rows) -> int:
    reader = RowReader(rows)
    return sum(
        np.asarray(open_picture(image, max_pixels_px=2**28)).size
        for number in range(NUM_DECODED_ROWS)
        for image in reader.read(number).images
    )


def decode_by_webdataset(paths: list[str]) -> int:
    samples = webdataset.WebDataset(paths[:1], shardshuffle=False, empty_check=False).decode("rgb8")
    num_values = 0
    for number, sample in enumerate(samples):
        if number == NUM_DECODED_ROWS:
            break
        num_values += sum(data.size for name, data in sample.items() if name.endswith(".jpg"))
    return num_values


def alternate(repeats: int, *sides: Callable[[], int]) -> list[float]:
    """Median CPU seconds of each side. All must come to the same."""
    times: list[list[float]] = [[] for _ in sides]
    results = set()
    for _ in range(repeats):
        for taken, side in zip(times, sides, strict=True):
            taken.append(cpu_seconds(lambda side=side: results.add(side())))
    assert len(results) == 1, "both sides must read the same pictures"
    return [statistics.median(taken) for taken in times]


def bench_raw(rows: Rows, repeats: int) -> None:
    paths = paths_of(rows)
    num_rows = RowReader(rows).num_rows
    num_images = sum(part.facts["num_images"] for part in rows.phase(ROWS_PHASE))
    mib = sum(part.file(ROWS_FILE).size_bytes for part in rows.phase(ROWS_PHASE)) / 2**20
    row_tokens = RowReader(rows).row_tokens
    print(f"{num_rows:,} rows of {row_tokens:,} tokens, {num_images:,} pictures, {mib:,.0f} MiB")
    ours, theirs = alternate(repeats, lambda: read_all(rows, 0), lambda: read_by_webdataset(paths))
    show("raw rows, shuffled and checked", rows=f"{num_rows / ours:,.0f}/s", pictures=f"{num_images / ours:,.0f}/s")
    show("raw webdataset, in order", rows=f"{num_rows / theirs:,.0f}/s", pictures=f"{num_images / theirs:,.0f}/s")
    show("  ratio", raw=f"{theirs / ours:.1f}")


def bench_decoded(rows: Rows, repeats: int) -> None:
    paths = paths_of(rows)
    ours, theirs = alternate(repeats, lambda: decode_rows(rows), lambda: decode_by_webdataset(paths))
    num_decoded = sum(len(RowReader(rows).read(number).images) for number in range(NUM_DECODED_ROWS))
    show("decoded rows", pictures=f"{num_decoded / ours:,.0f}/s")
    show("decoded by webdataset", pictures=f"{num_decoded / theirs:,.0f}/s")
    show("  ratio", decoded=f"{theirs / ours:.2f}")


def paths_of(rows: Rows) -> list[str]:
    return [str(rows.local_path(part.file(ROWS_FILE))) for part in rows.phase(ROWS_PHASE)]


class SmallRowsRecipe(Recipe):
    max_row_tokens: int = 16
    num_rows: int
    num_rows_per_part: int = 5000


def write_small_rows(part: Part, draft: PartDraft, num_rows: int) -> None:
    """Rows of sixteen tokens of text: as many as a long training has, and no larger than need be."""
    tokens, mask = np.arange(16, dtype=np.int32), np.ones(16, bool)
    facts = [DocumentFacts(sample_id=bytes(16), source="t", repetition=0, piece=0, num_tokens=16, num_pictures=0)]
    places, first = [], int(part.name) * num_rows
    with TarWriter(draft.path(ROWS_FILE)) as tar:
        members = row_members(tokens, mask, facts, (), ())
        for number in range(first, first + num_rows):
            offset = tar.size_bytes
            tar.add(row_key(number), members)
            work = {"num_tokens": 16, "num_pairs": 136, "num_patches": 0}
            places.append({"row": number, "offset": offset, "size_bytes": tar.size_bytes - offset, **work})
    data = draft.path(ROWS_FILE).read_bytes()
    for place in places:
        place["digest"] = xxhash.xxh3_64_intdigest(data[place["offset"] : place["offset"] + place["size_bytes"]])
    kinds = {"digest": pa.uint64(), "num_tokens": pa.int32(), "num_patches": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in places[0]])
    write_table(pa.Table.from_pylist(places, schema=schema), draft.path(INDEX_FILE))
    draft.count(ItemBalance(kept=num_rows))
    draft.fact(first_row=first, num_rows=num_rows)


@stage(number=1, recipe=SmallRowsRecipe, makes=Rows)
def make_small_rows(recipe: SmallRowsRecipe, *, ctx: StageContext) -> None:
    parts = [Part(name=f"{number:05d}") for number in range(recipe.num_rows // recipe.num_rows_per_part)]
    ctx.spread(partial(write_small_rows, num_rows=recipe.num_rows_per_part), over=parts, phase=ROWS_PHASE)


def bench_start(rows: Rows, repeats: int) -> None:
    """From an artifact that was just opened to its first row, wherever that is."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-pairs", type=int, default=5000, help="pairs packed and read, 57 KB each")
    parser.add_argument("--num-small-rows", type=int, default=100_000, help="rows among which to start, 3 KB each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the rows are made for a while")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        draw = draw_of(asked.num_pairs)
        long, single = (make(pack_rows.bind("rows", recipe, draw, LLM), Path(folder)) for recipe in (LONG, SINGLE))
        bench_raw(long, asked.repeats)
        bench_raw(single, asked.repeats)
        bench_decoded(long, asked.repeats)
        small = make_small_rows.bind("small", SmallRowsRecipe(num_rows=asked.num_small_rows))
        bench_start(make(small, Path(folder)), asked.repeats)


if __name__ == "__main__":
    main()
