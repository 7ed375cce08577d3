"""Packing: planning, measuring and writing, each beside a plainer way on the same data in the same run.

`python -m benchmarks.pack`            all of it, a few minutes
`python -m benchmarks.pack plan --num-documents 100000000`   as many as fit; more are extrapolated

plan     lengths are lognormal (median 500 tokens, sigma 1), rows of 16,384. Beside it: best-fit-decreasing one
         document at a time (a sorted list of rows), first-fit-decreasing over buffers of 1,000, and the released
         kit's way (micro-batches cut where a row is full).
measure  token counts from header sizes and tokenised captions. Beside it: opening and resizing each picture as well.
write    rows as tars with index. Beside it: a plain copy of the same pictures from tar to tar, in the order in which
         they lie, unchecked and checked.

CPU seconds of the process (all its threads) count, so that a busy machine does not blur the ratios; each side runs
alternately, the median is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import tempfile
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from benchmarks.pair_world import LLM, draw_of, make
from neo_model.conversation import encode_caption
from neo_model.pictures import open_picture, to_uint8_patches
from stages.contract import Part
from stages.llm_tokenizer import tokenizer_of
from stages.making import Draft
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.bins import plan_rows
from stages.packing.certificate import Certificate, certify, length_counts
from stages.packing.measuring import measure_part
from stages.packing.writing import write_part
from stages.pairs import PairReader
from stages.sources import drawn_source
from stages.tar_writer import TarWriter

ROW_TOKENS = 16_384
TARGET_DOCUMENTS = 390_000_000
RECIPE = PackRowsRecipe(max_row_tokens=ROW_TOKENS, num_rows_per_part=10_000)


def lognormal(num_documents: int) -> np.ndarray:
    """Lengths in tokens, drawn in pieces so that the benchmark itself stays small."""
    chance = np.random.default_rng(0)
    lengths = np.empty(num_documents, np.uint16)
    for start in range(0, num_documents, 2**22):
        drawn = chance.lognormal(np.log(500), 1.0, min(2**22, num_documents - start))
        lengths[start : start + len(drawn)] = np.clip(np.rint(drawn), 1, ROW_TOKENS)
    return lengths


def one_at_a_time(lengths: np.ndarray) -> int:
    """Rows of best-fit-decreasing, each document looked up in a sorted list of rooms."""
    rooms: list[int] = []
    num_rows = 0
    for length in sorted(lengths.tolist(), reverse=True):
        at = bisect_left(rooms, length)
        room = rooms.pop(at) if at < len(rooms) else ROW_TOKENS
        num_rows += at == len(rooms) and room == ROW_TOKENS
        insort(rooms, room - length)
    return num_rows


def first_fit_buffers(lengths: np.ndarray, buffer: int = 1000) -> int:
    """Rows of first-fit-decreasing over consecutive buffers."""
    num_rows = 0
    for start in range(0, len(lengths), buffer):
        rooms: list[int] = []
        for length in sorted(lengths[start : start + buffer].tolist(), reverse=True):
            at = next((index for index, room in enumerate(rooms) if room >= length), None)
            if at is None:
                rooms.append(ROW_TOKENS - length)
            else:
                rooms[at] -= length
        num_rows += len(rooms)
    return num_rows


def released_way(lengths: np.ndarray, micro_batch: int) -> tuple[float, float]:
    """Fill, and the share of documents lost, when each micro-batch is laid end to end and cut where a row is full."""
    cumulated = np.cumsum(lengths[: len(lengths) // micro_batch * micro_batch].reshape(-1, micro_batch), axis=1)
    fits = cumulated <= ROW_TOKENS
    return float((cumulated * fits).max(axis=1).mean() / ROW_TOKENS), float(1 - fits.mean())


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def show(what: str, **numbers: object) -> None:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())
    print(f"{what:<34} {told}", flush=True)


def rate(number: int, seconds: float) -> str:
    return f"{number / seconds:,.0f}/s"


def bench_plan(num_documents: int, repeats: int) -> None:
    lengths = lognormal(num_documents)
    certificate: Certificate | None = None

    def ours() -> None:
        nonlocal certificate
        plan = plan_rows(lengths, row_tokens=ROW_TOKENS, key="benchmark")
        certificate = certify(length_counts(lengths, ROW_TOKENS), plan.num_rows, ROW_TOKENS)

    few = lengths[: min(200_000, num_documents)]
    times, plain_times = [], []
    for _ in range(repeats):
        times.append(cpu_seconds(ours))
        plain_times.append(cpu_seconds(lambda: one_at_a_time(few)))
    seconds, plain_rate = statistics.median(times), len(few) / statistics.median(plain_times)
    assert certificate is not None
    show(
        f"plan {num_documents:,} documents",
        speed=rate(num_documents, seconds),
        ratio_to_one_at_a_time=f"{num_documents / seconds / plain_rate:,.0f}",
        rows=f"{certificate.num_rows:,}",
        lower_bound=f"{certificate.lower_bound_rows:,}",
        gap=f"{certificate.gap:.5%}",
        fill=f"{certificate.fill:.4%}",
        peak_memory=f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB",
    )
    show(f"  {TARGET_DOCUMENTS:,} by that speed", seconds=f"{TARGET_DOCUMENTS * seconds / num_documents:.0f}")
    show("one at a time, best fit", speed=f"{plain_rate:,.0f}/s", rows_for_200k=f"{one_at_a_time(few):,}")
    windowed = plan_rows(few, row_tokens=ROW_TOKENS, key="benchmark", window_documents=4096)
    counts = length_counts(few, ROW_TOKENS)
    show("plan in windows of 4,096", fill=f"{certify(counts, windowed.num_rows, ROW_TOKENS).fill:.4%}", lost="0%")
    show(
        "first-fit-decreasing over 1,000",
        fill=f"{certify(counts, first_fit_buffers(few), ROW_TOKENS).fill:.4%}",
        lost="0%",
    )
    for micro_batch in (16, 64):
        fill, lost = released_way(few, micro_batch)
        show(f"the released kit, {micro_batch} together", fill=f"{fill:.2%}", lost=f"{lost:.1%}")


def bench_measure(folder: Path, num_pairs: int, repeats: int) -> None:
    draw, llm = make(draw_of(num_pairs), folder), make(LLM, folder)
    parts = [
        Part(name=record.part, task={name: record.facts[name] for name in ("source", "part")})
        for record in draw.phase("draw")
    ]

    def ours() -> None:
        for part in parts:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                measure_part(part, Draft(Path(scratch), lambda _: None), draw=draw, llm=llm, limits=RECIPE.limits)

    source = drawn_source(draw, "pairs")
    samples = [sample for part in source.num_kept for sample in source.samples(part)][:400]
    pictures, tokenizer = source.pictures, tokenizer_of(llm)
    assert pictures is not None

    def opening() -> None:
        for sample in samples:
            picture = open_picture(pictures.image_of(sample.pictures[0]), max_pixels_px=2**28)
            _, grid = to_uint8_patches(picture, RECIPE.min_pixels_px, RECIPE.max_pixels_px)
            encode_caption(tokenizer, sample.pictures[0].caption, [grid[0] * grid[1] // 4])

    times, opening_times = [], []
    for _ in range(repeats):
        times.append(cpu_seconds(ours))
        opening_times.append(cpu_seconds(opening))
    speed, opening_speed = num_pairs / statistics.median(times), len(samples) / statistics.median(opening_times)
    show("measure", speed=f"{speed:,.0f}/s per core", ratio_to_opening=f"{speed / opening_speed:.1f}")
    show("opening and resizing each picture", speed=f"{opening_speed:,.0f}/s per core")


def bench_write(folder: Path, num_pairs: int, repeats: int) -> None:
    draw = make(draw_of(num_pairs), folder)
    rows = make(pack_rows.bind("rows", RECIPE, draw_of(num_pairs), LLM), folder)
    (written,) = rows.phase("write")
    plan, measured = rows.part("plan"), rows.phase("measure")
    pictures = drawn_source(draw, "pairs").pictures
    assert pictures is not None

    def ours(scratch: Path) -> None:
        write_part(Part(name=written.part), Draft(scratch, lambda _: None), draw=draw, plan=plan, measured=measured)

    sides: dict[str, Callable[[Path], None]] = {
        "write": ours,
        "plain copy from tar to tar": partial(plain_copy, pictures=pictures, checked=False),
        "the same with both digests": partial(plain_copy, pictures=pictures, checked=True),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                times[name].append(cpu_seconds(partial(work, Path(scratch))))
    speeds = {name: num_pairs / statistics.median(taken) for name, taken in times.items()}
    mib = written.file("rows.tar").size_bytes / 2**20
    print(f"{num_pairs:,} samples, {mib:,.0f} MiB")
    for name, speed in speeds.items():
        show(name, speed=f"{speed:,.0f}/s per core", ratio_of_write_to_it=f"{speeds['write'] / speed:.2f}")


def plain_copy(scratch: Path, pictures: PairReader, checked: bool) -> None:
    """The pictures from their tars into one, in the order in which they lie; `checked` by both digests, if asked."""
    number = 0
    with TarWriter(scratch / "copy.tar") as tar:
        for record in pictures.raw.parts:
            with pictures.raw.local_path(record.file("pairs.tar")).open("rb") as file:
                for pair in pictures.pairs_of(record.part):
                    file.seek(pair.image_offset)
                    image = file.read(pair.image_size_bytes)
                    if checked and hashlib.sha256(image).digest() != pair.sha256:
                        raise ValueError(f"{pair.url} is damaged")
                    tar.add(f"{number:09d}", {"jpg": image})
                    number += 1
                    if checked:
                        xxhash.xxh3_64_intdigest(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", choices=("plan", "measure", "write"))
    parser.add_argument("--num-documents", type=int, default=10_000_000, help="documents planned")
    parser.add_argument("--num-pairs", type=int, default=5000, help="pairs measured and written, 45 KB each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the pairs are made for a while")
    asked = parser.parse_args()
    if asked.only in (None, "plan"):
        bench_plan(asked.num_documents, asked.repeats)
    if asked.only != "plan":
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            if asked.only in (None, "measure"):
                bench_measure(Path(folder), asked.num_pairs, asked.repeats)
            if asked.only in (None, "write"):
                bench_write(Path(folder), asked.num_pairs, asked.repeats)


if __name__ == "__main__":
    main()
