"""Pairs by the million without their pictures, for the benchmark of lineage: real records, tables and manifests.

URLs lie on domains as unevenly as those of the web do (Zipf), captions are drawn from words of such frequencies too;
sample ids and digests of pictures are drawn instead of hashed. A stage called `dedup_pairs` stands for the real one: it
writes tables of perceptual hashes, drawn as well, from which the index of looks is made.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.artifacts.kinds import SAMPLES_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.duplicates.sketching import SKETCH_FILE, SKETCH_PHASE
from stages.formats.sample_table import balance_of, sample_id_type, write_table

NUM_DOMAINS = 400_000
NUM_WORDS = 60_000
SHARE_LOST = 0.25
WORDS_OF_CAPTION = (4, 16)


class ListedPairsRecipe(Recipe):
    """How many pairs there are."""

    num_pairs: int
    num_rows_per_part: int = 10_000


def words() -> pa.Array:
    """Words of four to nine letters, the frequent ones first."""
    chance = np.random.default_rng(0)
    syllables = [f"{a}{b}" for a in "bcdfghklmnprstvw" for b in "aeiou"]
    drawn = chance.integers(0, len(syllables), (NUM_WORDS, 4))
    lengths = chance.integers(2, 5, NUM_WORDS)
    return pa.array(["".join(syllables[k] for k in row[:n]) for row, n in zip(drawn, lengths, strict=True)])


def zipf(chance: np.random.Generator, num_kinds: int, size: int) -> np.ndarray:
    """Numbers below `num_kinds`, the first ones far more often."""
    return np.minimum((num_kinds ** chance.random(size)).astype(np.int64) - 1, num_kinds - 1)


def pair_table(first_row: int, num_rows: int, known_words: pa.Array) -> pa.Table:
    """The sample table of one part, as `download_pairs` has it."""
    chance = np.random.default_rng([1, first_row])
    domains = zipf(chance, NUM_DOMAINS, num_rows)
    hosts = pa.array([f"img{n % 3}.shop-{n}.{'com' if n % 4 else 'co.uk'}" for n in domains.tolist()])
    rows = pa.array(np.arange(first_row, first_row + num_rows)).cast(pa.string())
    paths = pa.array(chance.integers(0, 1000, num_rows)).cast(pa.string())
    urls = pc.binary_join_element_wise(
        "https:/", hosts, "media", paths, pc.binary_join_element_wise(rows, ".jpg", ""), "/"
    )
    lengths = chance.integers(*WORDS_OF_CAPTION, num_rows)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    listed = pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), known_words.take(pa.array(zipf(chance, NUM_WORDS, int(ends[-1]))))
    )
    is_lost = pa.array(chance.random(num_rows) < SHARE_LOST)
    digests = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), num_rows, [None, pa.py_buffer(chance.bytes(32 * num_rows))]
    )
    ids = pa.FixedSizeBinaryArray.from_buffers(
        sample_id_type(), num_rows, [None, pa.py_buffer(chance.bytes(16 * num_rows))]
    )
    return pa.table(
        {
            "sample_id": ids,
            "url": urls,
            "caption": pc.binary_join(listed, " "),
            "verdict": pc.if_else(is_lost, "failed", "kept"),
            "reason": pc.if_else(is_lost, pa.scalar("not_found"), pa.scalar(None, pa.string())),
            "sha256": pc.if_else(is_lost, pa.scalar(None, pa.binary(32)), digests),
        }
    )


def list_part(part: Part, draft: PartDraft, known_words: pa.Array) -> None:
    """Write the table of one part."""
    table = pair_table(part.task["first_row"], part.num_items or 0, known_words)
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=ListedPairsRecipe, makes=RawPairs)
def list_pairs(recipe: ListedPairsRecipe, *, ctx: StageContext) -> None:
    """Make pairs without their pictures."""
    starts = range(0, recipe.num_pairs, recipe.num_rows_per_part)
    over = [
        Part(
            name=f"{number:05d}",
            task={"first_row": first},
            num_items=min(recipe.num_rows_per_part, recipe.num_pairs - first),
        )
        for number, first in enumerate(starts)
    ]
    ctx.spread(partial(list_part, known_words=words()), over=over, phase="download")


class DrawnLooksRecipe(Recipe):
    """What `dedup_pairs` says of hashes."""

    max_near_bits: int = 3
    seed: int = 2


def sketch_part(part: Part, draft: PartDraft, raw: RawPairs, seed: int) -> None:
    """Draw a hash for each kept pair of one part."""
    name = part.name.removeprefix("sketch_")
    with raw.local_file(raw.part(name).file(SAMPLES_FILE)) as path:
        table = pq.read_table(path, columns=["sample_id", "verdict"])
    ids = table.filter(pc.equal(table["verdict"], "kept"))["sample_id"]
    chance = np.random.default_rng([seed, int(name)])
    hashes = pa.array(chance.integers(0, 2**63, len(ids), np.uint64))  # their first bit is 0
    write_table(pa.table({"sample_id": ids, "hash": hashes}), draft.path(SKETCH_FILE))


@stage(number=1, recipe=DrawnLooksRecipe, makes=KeptPairs)
def dedup_pairs(recipe: DrawnLooksRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    """Make tables of hashes, and no verdicts."""
    over = [Part(name=f"sketch_{record.part}") for record in raw.parts]
    ctx.spread(partial(sketch_part, raw=raw, seed=recipe.seed), over=over, phase=SKETCH_PHASE)
