"""The cost of drawing a mixture, and whether its memory grows with the sources.

`python -m benchmarks.mix [--num-rows 1000000 10000000]`: a source of so many texts in parts of 10,000, three tenths of
them drawn, with 20,000 held-out texts of which half are in the source. Each size is drawn in a fresh process, one part
after the other; its CPU time for a million rows is printed with its peak memory, and with how much of that the parts
added.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.local import make
from stages.artifacts.kinds import DOCUMENTS_FILE, Draw, TextDocuments
from stages.contract import Part, PartDraft, Recipe, StageContext, Step, stage
from stages.formats.draws import drawn_by_source
from stages.formats.sample_table import SAMPLE_ID_BYTES, balance_of, sample_id_type, write_table
from stages.mix_samples import MixRecipe, mix_samples

NUM_ROWS_PER_PART = 10_000
NUM_HELD_OUT = 20_000
SHARE_DRAWN = 0.3


class TextsRecipe(Recipe):
    """How many texts are made, from which number."""

    first: int = 0
    num_rows: int


def write_texts(part: Part, draft: PartDraft) -> None:
    """Write the texts of one part."""
    numbers = np.arange(part.task["first"], part.task["until"])
    key = hashlib.sha256(part.name.encode()).digest()
    ids = np.random.default_rng(list(key)).bytes(SAMPLE_ID_BYTES * len(numbers))
    texts = pc.binary_join_element_wise(
        "document number", pa.array(numbers).cast(pa.string()), "of a corpus with as many words as a caption has", " "
    )
    table = pa.table(
        {
            "sample_id": pa.FixedSizeBinaryArray.from_buffers(
                sample_id_type(), len(numbers), [None, pa.py_buffer(ids)]
            ),
            "text": texts,
            "verdict": pa.array(["kept"] * len(numbers)),
            "reason": pa.nulls(len(numbers), pa.string()),
        }
    )
    write_table(table, draft.path(DOCUMENTS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=TextsRecipe, makes=TextDocuments)
def make_many_texts(recipe: TextsRecipe, *, ctx: StageContext) -> None:
    """Texts as long as captions, in parts of `NUM_ROWS_PER_PART`."""
    until = recipe.first + recipe.num_rows
    parts = [
        Part(name=f"{first:09d}", task={"first": first, "until": min(first + NUM_ROWS_PER_PART, until)})
        for first in range(recipe.first, until, NUM_ROWS_PER_PART)
    ]
    ctx.spread(write_texts, over=parts, phase="read")


def mixture(num_rows: int) -> Step[Draw]:
    """Three tenths of the texts. Of the held-out texts, half are also in the source and must not be drawn."""
    texts = make_many_texts.bind("texts", TextsRecipe(num_rows=num_rows))
    exam = make_many_texts.bind("exam", TextsRecipe(first=num_rows - NUM_HELD_OUT // 2, num_rows=NUM_HELD_OUT))
    recipe = MixRecipe(shares={"text": 1}, num_samples=int(SHARE_DRAWN * num_rows))
    return mix_samples.bind("mix", recipe, {"text": texts}, {"exam": exam})


def draw(num_rows: int, folder: Path, answer: Connection) -> None:
    """Draw in this process; sends wall and CPU seconds, peak memory in MiB before and after, and the counts drawn."""
    wall, cpu, before = time.monotonic(), time.process_time(), peak_mb()
    manifest = make(mixture(num_rows), folder).manifest
    counts = drawn_by_source(part for part in manifest.parts if part.phase == "draw")["text"]
    answer.send((time.monotonic() - wall, time.process_time() - cpu, before, peak_mb(), counts))


def peak_mb() -> float:
    """Peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Draw each size in a fresh process, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    for num_rows in parser.parse_args().num_rows:
        with tempfile.TemporaryDirectory(prefix="neo-mix-") as folder:
            for needed in mixture(num_rows).walk()[:-1]:
                make(needed, folder)
            receiver, sender = get_context("spawn").Pipe(duplex=False)
            process = get_context("spawn").Process(target=draw, args=(num_rows, Path(folder), sender))
            process.start()
            wall, cpu, before, after, counts = receiver.recv()
            process.join()
        print(
            f"{num_rows:>12,} rows: {wall:6.1f} s, {cpu / num_rows * 1e6:5.1f} CPU s for a million, "
            f"peak {after:5.0f} MB ({after - before:+.0f} MB), "
            f"{counts['drawn']:,} drawn, {counts['held_out']:,} held out"
        )


if __name__ == "__main__":
    main()
