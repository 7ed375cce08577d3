"""Loading for long: memory and descriptors while thousands of rows of 500 pictures each go through the loader.

`python -m benchmarks.long_load --num-rows 10000`: rows of 500 JPEGs of 32 x 32 px are read, checked, decoded and laid
out as micro-batches, by a thread and by two worker processes, and released. `--num-different` rows exist, and are
passed over repeatedly; pictures are small, which keeps a run to minutes. Resident memory and open descriptors of this
process and of its workers are read after every hundredth of the steps. After a tenth as warm-up, the first and the last
quarter are compared: a figure is flat that grew by less than 5% or 16 MiB. The memory of the indexes in a reader is
measured apart, on rows of text alone, in parts of five hundred rows.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import xxhash
from PIL import Image

from benchmarks.load import SmallRowsRecipe, make_small_rows
from benchmarks.pack import show
from cluster.local import make
from neo_model.config import NeoConfig
from neo_model.inputs.batch import Weighting
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.contract import GangLayout, ItemBalance, Part, PartDraft, Recipe, StageContext, stage
from stages.formats.packed_rows.row_format import DocumentFacts, row_key, row_members
from stages.formats.packed_rows.rows import RowReader
from stages.formats.sample_table import sample_id_type, write_table
from stages.formats.tar import TarWriter
from stages.training.loading.micro_batches import PackedRows, StepLoader
from stages.training.loading.prefetch import Prefetcher, prefetch
from stages.training.loading.split import RowSplit
from stages.training.loading.step_rows import spans

NUM_PICTURES = 500
START, CONTEXT, END = 1, 2, 3
ROWS_PER_STEP = 4
MIB = 2**20


class PictureRowsRecipe(Recipe):
    """How many rows of pictures are made, and the limits that training reads."""

    num_rows: int
    max_row_tokens: int = 4 * NUM_PICTURES
    min_pixels_px: int = 1024
    max_pixels_px: int = 1024


def write_picture_rows(_part: Part, draft: PartDraft, num_rows: int) -> None:
    """Rows of one document: pictures of one token each, and a word after every one."""
    chance = np.random.default_rng(0)
    tokens = np.array([START, CONTEXT, END, 7] * NUM_PICTURES, np.int32)
    facts = DocumentFacts(
        sample_id=bytes(16), source="p", repetition=0, piece=0, num_tokens=len(tokens), num_pictures=NUM_PICTURES
    )
    places: list[dict[str, Any]] = []
    with TarWriter(draft.path(ROWS_FILE)) as tar:
        for number in range(num_rows):
            offset = tar.size_bytes
            images = [jpeg(chance) for _ in range(NUM_PICTURES)]
            grids = [(2, 2)] * NUM_PICTURES
            tar.add(row_key(number), row_members(tokens, tokens == tokens[-1], [facts], grids, images))
            work = {
                "num_tokens": len(tokens),
                "num_pairs": 1,
                "num_patches": 4 * NUM_PICTURES,
                "num_supervised": NUM_PICTURES,
            }
            size = {"offset": offset, "size_bytes": tar.size_bytes - offset}
            places.append({"row": number, **size, **work, "sample_ids": [bytes(16)]})
    data = draft.path(ROWS_FILE).read_bytes()
    for place in places:
        place["digest"] = xxhash.xxh3_64_intdigest(data[place["offset"] : place["offset"] + place["size_bytes"]])
    kinds = {"digest": pa.uint64(), "sample_ids": pa.list_(sample_id_type())}
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in places[0]])
    write_table(pa.Table.from_pylist(places, schema=schema), draft.path(ROW_INDEX_FILE))
    draft.count(ItemBalance(kept=num_rows))
    draft.fact(first_row=0, num_rows=num_rows)


def jpeg(chance: np.random.Generator) -> bytes:
    """A JPEG of 32 x 32 px, of random colours."""
    file = BytesIO()
    coarse = chance.integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(coarse).resize((32, 32)).save(file, "JPEG")
    return file.getvalue()


@stage(number=1, recipe=PictureRowsRecipe, makes=Rows)
def make_picture_rows(recipe: PictureRowsRecipe, *, ctx: StageContext) -> None:
    """Rows of small pictures, in one part."""
    ctx.spread(partial(write_picture_rows, num_rows=recipe.num_rows), over=[Part(name="00000")], phase=ROWS_PHASE)


def loader_of(rows: Rows) -> StepLoader:
    """The loader of a worker group of one rank that takes one row at a time."""
    qwen3 = {
        "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "intermediate_size": 56, "vocab_size": 320, "num_hidden_layers": 2, "rope_theta": 1e6,
        "tie_word_embeddings": True, "model_type": "qwen3",
    }  # fmt: skip
    config = NeoConfig.from_qwen3(
        qwen3,
        num_prebuffer_layers=1,
        image_start_id=START,
        image_context_id=CONTEXT,
        image_end_id=END,
        patch_hidden=16,
    )
    return StepLoader(
        packed=(PackedRows.of(rows),),
        spans=spans(10**9, ()),
        split=RowSplit.of(ROWS_PER_STEP, GangLayout(), 0, 1),
        rows_per_step=ROWS_PER_STEP,
        seed=0,
        weighting=Weighting.SQUARE,
        config=config,
    )


def load_long(loader: StepLoader, num_rows: int, num_workers: int) -> Iterator[dict[str, float]]:
    """Load `num_rows` rows; yields the resources of this process and its workers, about 100 times."""
    num_steps = num_rows // ROWS_PER_STEP
    with prefetch(loader, range(num_steps), ROWS_PER_STEP, num_workers, print) as loaded:
        for step, _ in enumerate(loaded, 1):
            if step % max(1, num_steps // 100) == 0:
                yield resources(loaded)


def resources(loaded: Prefetcher) -> dict[str, float]:
    """Resident MiB and open descriptors, of this process and of its workers together."""
    workers = getattr(loaded._hands, "_workers", ())
    groups = {"this": [psutil.Process()], "workers": [psutil.Process(worker.process_id) for worker in workers]}
    found = {}
    for name, processes in groups.items():
        if processes:
            found[f"{name} MiB"] = sum(process.memory_info().rss / MIB for process in processes)
            found[f"{name} descriptors"] = sum(process.num_fds() for process in processes)
    return found


def bench_long(rows: Rows, num_rows: int, num_workers: int) -> None:
    """Load rows, and print how memory and descriptors grew."""
    began = time.monotonic()
    samples = list(load_long(loader_of(rows), num_rows, num_workers))
    seconds = time.monotonic() - began
    settled = samples[len(samples) // 10 :]
    quarter = len(settled) // 4
    print(f"{num_rows:,} rows of {NUM_PICTURES} pictures, {num_workers} workers: {num_rows / seconds:,.0f} rows/s")
    for name in settled[0]:
        first, last = (statistics.median(one[name] for one in part) for part in (settled[:quarter], settled[-quarter:]))
        is_flat = last <= first * 1.05 or (name.endswith("MiB") and last - first < 16)
        show(f"  {name}", first_quarter=f"{first:,.1f}", last_quarter=f"{last:,.1f}", flat="yes" if is_flat else "NO")


def bench_indexes(rows: Rows) -> None:
    """Memory and descriptors of one reader after it has read from every part."""
    reader, process = RowReader(rows), psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    num_parts = len(rows.phase(ROWS_PHASE))
    for row in range(0, reader.num_rows, max(1, reader.num_rows // num_parts)):
        reader.read(row)
    gc.collect()
    grown = process.memory_info().rss - before
    each = f"{grown / reader.num_rows:.0f} bytes"
    show(f"indexes of {reader.num_rows:,} rows in {num_parts:,} parts", grown=f"{grown / MIB:.0f} MiB", each_row=each)
    show("  descriptors", open=f"{process.num_fds()}")


def main() -> None:
    """Make the rows, load them without and with workers, and measure the indexes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-rows", type=int, default=10_000, help="rows that are loaded, for each number of workers")
    parser.add_argument("--num-different", type=int, default=100, help="rows that there are, 0.7 MB each")
    parser.add_argument("--num-text-rows", type=int, default=200_000, help="rows of text whose indexes are read")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the rows are made for a while")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        rows = make(make_picture_rows.bind("rows", PictureRowsRecipe(num_rows=asked.num_different)), Path(folder))
        for num_workers in (0, 2):
            bench_long(rows, asked.num_rows, num_workers)
        small = SmallRowsRecipe(num_rows=asked.num_text_rows, num_rows_per_part=500)
        bench_indexes(make(make_small_rows.bind("small", small), Path(folder)))


if __name__ == "__main__":
    main()
