"""What finding duplicates among pairs costs: time, memory and disk at three sizes, and what it means for 390 million.

    python -m benchmarks.dedup                        1, 3 and 10 million pairs, two processes
    python -m benchmarks.dedup --millions 1 --scale   one size, and the parts of 390 million pairs

Pairs have made-up digests: a tenth have the URL of another pair, a twentieth the bytes of its picture, a tenth nearly
its perceptual hash (0 to 5 of 64 bits changed), a thousandth a hash of a crowd in which 40 of 64 bits are the same. The
phases `list`, `join`, `near` and `gather` are carried out as in the stage, by two processes. Of `sketch`, the hashing
of pictures is measured apart.

Each size is checked: pairs of a sample are compared with all pairs, and each near duplicate with its better pair. The
baseline of the search is the textbook rule (of 4 bands of 16 bits one is equal) on 3 million hashes, in this process.

With `--scale` one part of `join` and of each band of `near` are carried out as they are with 390 million pairs: as many
records, as dense.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cluster.local import LocalContext
from stages.artifacts.kinds import KeptPairs
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.make_steps import make_steps
from stages.commit.parts import PartWriter
from stages.commit.scratch import scratch_folder
from stages.contract import GangLayout, ItemBalance, Part, PartDraft, PartRecord, PartWork, Recipe, StageContext, stage
from stages.dedup_pairs import DedupPairsRecipe
from stages.duplicates.criteria import FOUND_FIELDS, KEY_FIELDS, REASONS, Criterion, DuplicateReason
from stages.duplicates.gathering import DUPLICATES_FILE, gather_found
from stages.duplicates.joining import duplicates_of_keys
from stages.duplicates.judging import Comparison, find_duplicates
from stages.duplicates.measures.digests import text_digest, url_digest
from stages.duplicates.measures.hash_bits import mixed, num_bits
from stages.duplicates.measures.minhash import band_keys
from stages.duplicates.measures.near_hashes import NearestBetter, band_masks
from stages.duplicates.measures.picture_hashes import picture_hash
from stages.duplicates.nearby import near_duplicates_of
from stages.duplicates.parts_of_rows import JUDGED, RowParts, SketchTask, group_parts
from stages.duplicates.ranks import ranks_of
from stages.duplicates.sketching import SKETCH_FILE
from stages.duplicates.slices import RECORDS_PER_SLICE
from stages.formats.external_sort import order_of
from stages.formats.sample_table import sample_id_type, write_table
from stages.store.store import Store

ROWS_PER_PART = 100_000
NUM_PROCESSES = 2
NUM_CHECKED = 400
NUM_AT_SCALE = 390_000_000
SCALE_CORES = 16
RECIPE = DedupPairsRecipe(max_share_lost=1)
BITS = 3

Numbers = np.ndarray[Any, np.dtype[np.uint64]]


class DigestsRecipe(Recipe):
    """Pairs with made-up digests."""

    num_rows: int


def numbers_of(rows: Numbers, salt: int) -> Numbers:
    """A number for each row, as if drawn by chance: the same in every process."""
    return mixed(mixed(rows + np.uint64(salt << 40)))


def others_of(rows: Numbers, num_rows: int, salt: int) -> Numbers:
    """For each row another one, whose number ends in 0 and which is a copy of none."""
    other = numbers_of(rows, salt) % np.uint64(num_rows)
    return other - other % np.uint64(20)


def digests_of(rows: Numbers, num_rows: int) -> dict[str, Numbers]:
    """The digests of rows; each row can be made by itself."""
    ends = rows % np.uint64(20)
    urls, pictures = rows.copy(), rows.copy()
    urls[ends % 10 == 3] = others_of(rows, num_rows, 1)[ends % 10 == 3]
    pictures[ends == 5] = others_of(rows, num_rows, 2)[ends == 5]
    hashes = numbers_of(rows, 3)
    near = ends % 10 == 9
    copied = numbers_of(others_of(rows, num_rows, 4), 3)
    for bit in range(5):
        changes = numbers_of(rows, 5) % np.uint64(6) > bit
        flipped = numbers_of(rows, 6 + bit) % np.uint64(64)
        copied ^= np.where(changes, np.uint64(1) << flipped, np.uint64(0))
    hashes[near] = copied[near]
    crowd = rows % np.uint64(1000) == 2
    hashes[crowd] = (hashes[crowd] & np.uint64(2**24 - 1)) | np.uint64(0xA5C35A3C96 << 24)
    sizes = (numbers_of(rows, 11) % np.uint64(2000)) * np.uint64(500) + np.uint64(4096)
    return {
        "url": numbers_of(urls, 7), "picture": numbers_of(pictures, 8), "hash": hashes, "num_pixels": sizes
    }  # fmt: skip


def write_digests(part: Part, draft: PartDraft, num_rows: int) -> None:
    """The sketch of one part."""
    import pyarrow as pa

    task = SketchTask.of(part)
    rows = np.arange(task.first_row, task.first_row + task.num_rows, dtype=np.uint64)
    digests = digests_of(rows, num_rows)
    ids = np.zeros((len(rows), 16), np.uint8)
    ids[:, :8] = rows.view(np.uint8).reshape(-1, 8)
    columns = {
        "sample_id": pa.array([bytes(one) for one in ids], sample_id_type()),
        "own_reason": pa.nulls(len(rows), pa.string()),
        "num_pixels": pa.array(digests.pop("num_pixels").astype(np.int64)),
        **{name: pa.array(values) for name, values in digests.items()},
    }
    write_table(pa.table(columns), draft.path(SKETCH_FILE))


@stage(number=1, recipe=DigestsRecipe, makes=KeptPairs)
def dedup_digests(recipe: DigestsRecipe, *, ctx: StageContext) -> None:
    """The phases of `dedup_pairs` between `sketch` and `judge`."""
    firsts = range(0, recipe.num_rows, ROWS_PER_PART)
    rows = RowParts([
        SketchTask(source=JUDGED, part=f"{first:010d}", first_row=first, num_rows=ROWS_PER_PART) for first in firsts
    ])  # fmt: skip
    over = [Part(name=task.name, task=task.dump()) for task in rows.tasks]
    sketched = ctx.spread(partial(write_digests, num_rows=recipe.num_rows), over=over, phase="sketch")
    comparison = Comparison(rows=rows, criteria=RECIPE.criteria, size="num_pixels", max_near_bits=BITS)
    found = find_duplicates(ctx, comparison, sketched)
    groups = rows.groups()
    gathering = partial(gather_found, store=ctx.store, rows=rows, groups=groups, found=found)
    ctx.spread(gathering, over=group_parts(groups), phase="gather")
    ctx.spread(_nothing, over=[Part(name="end")], phase="judge")


def _nothing(_: Part, draft: PartDraft) -> None:
    draft.count(ItemBalance())


class Processes(LocalContext):
    """Does the parts of a phase in two processes, new ones for each phase, and adds up what they took."""

    took: dict[str, dict[str, float]]

    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        took, began = dict.fromkeys(("cpu_seconds", "peak_mib", "bytes"), 0.0), time.perf_counter()
        with ProcessPoolExecutor(NUM_PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
            for record, cpu_seconds, peak_kib in pool.map(partial(_made, self.writer, work, phase), parts):
                keep(record)
                took["cpu_seconds"] += cpu_seconds
                took["peak_mib"] = max(took["peak_mib"], peak_kib // 1024)
                took["bytes"] += sum(entry.size_bytes for entry in record.files)
        took["wall_seconds"] = time.perf_counter() - began
        self.took[phase] = took


def _made(writer: ArtifactWriter, work: PartWork, phase: str, part: Part) -> tuple[PartRecord, float, int]:
    began = time.process_time()
    record = PartWriter(writer, lambda _: None).make_part(work, phase, part)
    return record, time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(num_rows: int) -> dict[str, Any]:
    """What one size took, and whether it is right."""
    took: dict[str, dict[str, float]] = {}

    @contextmanager
    def context(writer: ArtifactWriter, post: Any) -> Any:
        with scratch_folder(writer.step) as scratch:
            made = Processes(writer=writer, scratch=scratch, post=post, layout=GangLayout())
            made.took = took
            yield made

    with TemporaryDirectory() as folder:
        step = dedup_digests.bind("digests", DigestsRecipe(num_rows=num_rows))
        made = make_steps(step, Store(Path(folder)), context, lambda _: None)
        found = np.concatenate(
            [_duplicates(made, record) for record in made.manifest.parts if record.phase == "gather"]
        )
        facts = [record.facts for record in made.manifest.parts if record.phase == "near"]
    work = [took[phase] for phase in ("list", "join", "near", "gather")]
    return {
        "wall_seconds": sum(one["wall_seconds"] for one in work),
        "cpu_seconds": sum(one["cpu_seconds"] for one in work),
        "peak_mib": max(one["peak_mib"] for one in work),
        "bytes": sum(one["bytes"] for one in work),
        "by_phase": {phase: round(one["cpu_seconds"], 1) for phase, one in took.items() if phase != "judge"},
        "num_compared": sum(one["num_compared"] for one in facts),
        "num_crowded": sum(one["num_crowded"] for one in facts),
        "num_found": len(found),
        **checked(found, num_rows),
    }


def _duplicates(made: Any, record: PartRecord) -> Any:
    """All duplicates in a file of phase `gather`, behind the offsets of its slices."""
    data = made.read(record.file(DUPLICATES_FILE))
    size = np.dtype(FOUND_FIELDS).itemsize
    num_offsets = next(
        n for n in range(2, 10**6) if int.from_bytes(data[8 * n - 8 : 8 * n], "little") * size == len(data) - 8 * n
    )
    return np.frombuffer(data[8 * num_offsets :], FOUND_FIELDS)


def checked(found: Any, num_rows: int) -> dict[str, int]:
    """Compare a sample with all pairs, and each near duplicate with its better pair: both counts should be 0."""
    rows = np.arange(num_rows, dtype=np.uint64)
    hashes, sizes = [], []
    for first in range(0, num_rows, 10**6):
        digests = digests_of(rows[first : first + 10**6], num_rows)
        hashes.append(digests["hash"])
        sizes.append(digests["num_pixels"])
    every, ranks = np.concatenate(hashes), ranks_of(np.concatenate(sizes).astype(np.int64), 0, is_earlier=False)
    near = found[found["reason"] == REASONS.index(DuplicateReason.NEAR_DUPLICATE_PICTURE)]
    better = near["of_rank"] & np.uint64(2**32 - 1)
    wrong = int((num_bits(every[near["row"]] ^ every[better]) > BITS).sum())
    wrong += int((near["of_rank"] >= ranks[near["row"]]).sum())
    is_found = np.zeros(num_rows, bool)
    is_found[found["row"]] = True
    chance = np.random.default_rng(0)
    sample = chance.integers(0, num_rows // 10, NUM_CHECKED // 2) * 10 + 9  # those that are nearly copies of others
    missed = num_near = 0
    for row in np.append(sample, chance.integers(0, num_rows, NUM_CHECKED // 2)).tolist():
        has_better = bool(((num_bits(every ^ every[row]) <= BITS) & (ranks < ranks[row])).any())
        missed += has_better and not is_found[row]
        num_near += has_better
    return {"num_wrong": wrong, "num_missed": missed, "num_near_in_sample": num_near}


def textbook(num_hashes: int) -> tuple[float, int, float]:
    """CPU seconds and comparisons of the textbook rule on so many hashes, and CPU seconds of ours."""
    hashes = np.unique(numbers_of(np.arange(num_hashes, dtype=np.uint64), 3))
    ranks = np.arange(len(hashes), dtype=np.uint64)
    plain = NearestBetter.among(hashes, ranks, BITS)
    began = time.process_time()
    for mask in band_masks(BITS - 1):  # as many bands as `BITS + 1`
        keys = hashes & np.uint64(mask)
        order = np.argsort(keys)
        plain._compare_all(order, keys[order])
    seconds = time.process_time() - began
    ours = NearestBetter.among(hashes, ranks, BITS)
    began = time.process_time()
    for band in range(BITS + 1):
        ours.search(band)
    assert (ours.best == plain.best).all()
    return seconds, plain.num_compared, time.process_time() - began


def at_scale() -> None:
    """Carry out parts as they are with 390 million pairs, and add them up."""
    rows = np.arange(RECORDS_PER_SLICE, dtype=np.uint64)
    records = np.zeros(RECORDS_PER_SLICE, KEY_FIELDS)
    records["key"], records["rank"] = numbers_of(rows, 1), np.uint64(1 << 63) | numbers_of(rows, 2) >> np.uint64(1)
    began = time.process_time()
    ordered = records[order_of(records["key"], records["rank"])]
    duplicates_of_keys(ordered, Criterion("url", "url", DuplicateReason.DUPLICATE_URL))
    join_seconds = time.process_time() - began
    num_parts = -(-NUM_AT_SCALE // RECORDS_PER_SLICE)
    near_seconds = []
    for band, mask in enumerate(band_masks(BITS)[:-1]):
        num_values = round(2 ** mask.bit_count() * RECORDS_PER_SLICE / NUM_AT_SCALE)  # values of the band in a slice
        low = (mask & -mask).bit_length() - 1
        value = (numbers_of(rows, 4) % np.uint64(num_values)) << np.uint64(low)
        records["key"] = (numbers_of(rows, 3) & ~np.uint64(mask)) | value
        began = time.process_time()
        search = near_duplicates_of(records, band, BITS)
        near_seconds.append(time.process_time() - began)
        print(f"  near, band {band}: {near_seconds[-1]:.1f} s of CPU time, {search.num_compared:,} comparisons")
    print(f"  join: {join_seconds:.1f} s; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    total = num_parts * (3 * join_seconds + sum(near_seconds))
    print(
        f"  {num_parts} such parts for each criterion and band: {total:,.0f} s of CPU time, "
        f"{total / SCALE_CORES / 60:.1f} min on {SCALE_CORES} cores, without reading and writing"
    )


def picture_rates() -> None:
    """Print hashes of pictures a second of CPU time beside decoding at full size."""
    import io

    from PIL import Image

    from neo_model.inputs.pictures import open_pixels

    chance = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(chance).resize((640, 480), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    rates = []
    for work in (picture_hash, lambda data: open_pixels(data, max_pixels_px=10**7)):
        began = time.process_time()
        for _ in range(300):
            work(encoded.getvalue())
        rates.append(300 / (time.process_time() - began))
    print(
        f"pictures of 640 x 480 px: {rates[0]:,.0f} hashed a second of CPU time, {rates[1]:,.0f} decoded: "
        f"{rates[0] / rates[1]:.1f} times as many"
    )


def table_rate() -> None:
    """Print how many rows of a table are digested in a second, without and with the likeness of captions."""
    chance = np.random.default_rng(0)
    words = [f"word{number}" for number in range(3000)]
    captions = [" ".join(words[number] for number in ones) for ones in chance.integers(0, 3000, (50_000, 12))]
    urls = [f"https://Host{number % 997}.example.org/pictures/{number}.jpg" for number in range(len(captions))]
    rates = []
    for likeness in (None, 0.8):
        began = time.process_time()
        for url, caption in zip(urls, captions, strict=True):
            url_digest(url)
            text_digest(caption)
        if likeness is not None:
            band_keys(captions, likeness, run_words=3)
        rates.append(len(urls) / (time.process_time() - began))
    print(
        f"URLs and captions of 12 words: {rates[0]:,.0f} rows digested a second of CPU time, {rates[1]:,.0f} with the "
        "keys for likeness of captions"
    )


def main() -> None:
    """Print a line for each size, then the baselines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 3, 10], help="sizes, in millions of pairs")
    parser.add_argument("--scale", action="store_true", help="carry out parts of 390 million pairs as well")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.millions[0] * 10**6)))
        return
    for millions in options.millions:
        command = [sys.executable, "-m", "benchmarks.dedup", "--child", "--millions", str(millions)]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(
            f"{millions} million pairs: {took['wall_seconds']:.0f} s, {took['cpu_seconds']:.0f} s of CPU time "
            f"({took['cpu_seconds'] / millions:.1f} s a million), {NUM_PROCESSES} processes of at most "
            f"{took['peak_mib']:,.0f} MiB, {took['bytes'] / millions / 1e6:.0f} bytes a pair on disk\n"
            f"  {took['num_found']:,} duplicates; of {took['num_near_in_sample']} near ones in a sample "
            f"{took['num_missed']} missed, {took['num_wrong']} wrong of all; {took['num_compared']:,} comparisons, "
            f"{took['num_crowded']:,} crowded; CPU seconds by phase: {took['by_phase']}",
            flush=True,
        )
    seconds, num_compared, ours = textbook(3 * 10**6)
    print(
        f"3 million hashes in memory: {ours:.1f} s; by the textbook rule {seconds:.1f} s, {seconds / ours:.1f} times "
        f"as long, with {num_compared:,} comparisons, which grow with the square"
    )
    picture_rates()
    table_rate()
    if options.scale:
        print(f"parts as they are with {NUM_AT_SCALE:,} pairs:")
        at_scale()


if __name__ == "__main__":
    main()
