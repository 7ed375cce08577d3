"""Packing: planning, measuring and writing, each beside a plainer way on the same data in the same run.

`python -m benchmarks.pack`            all of it, a few minutes
`python -m benchmarks.pack plan --num-documents 100000000`   as many as fit; more are extrapolated

plan     lengths are lognormal (median 500 tokens, sigma 1), rows of 16,384. Beside it: best-fit-decreasing one
         document at a time (a sorted list of rows), first-fit-decreasing over buffers of 1,000, and the released
         kit's way (micro-batches cut where a row is full). Then the plan part as a stage runs it, from measured
         tables to what is planned and the index of samples, extrapolated from two sizes; and that index asked.
measure  token counts from header sizes and tokenised captions. Beside it: opening and resizing each picture as well.
write    rows as tars with index. Beside it: a plain copy of the same pictures from tar to tar, in the order of their
         bytes, unchecked and checked by the same digests, and by the standard library. Then the memory of the whole
         stage for some samples and for four times as many.

CPU seconds of the process (all its threads) count, because a busy machine blurs wall time. The sides alternate, and the
median is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import tarfile
import tempfile
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from benchmarks.pair_world import LLM, draw_of
from benchmarks.planning import ROW_TOKENS, in_a_fresh_process, lognormal, plan_in_a_fresh_process, sample_index
from cluster.local import make
from neo_model.inputs.conversation import encode_caption
from neo_model.inputs.pictures import open_pixels, to_uint8_patches
from stages.artifacts.records import PartRecord
from stages.commit.draft import Draft
from stages.contract import Part
from stages.formats.pairs import PairReader
from stages.formats.sample_sources import drawn_sources
from stages.formats.tar import TarWriter
from stages.formats.tokenizer import tokenizer_of
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.bin_packing import plan_rows
from stages.packing.certificate import Certificate, certify, length_counts
from stages.packing.measure import measure_part
from stages.packing.plan_file import planned_parts
from stages.packing.row_inputs import RowInputs
from stages.packing.write import write_part

TARGET_DOCUMENTS = 390_000_000
RECIPE = PackRowsRecipe(max_row_tokens=ROW_TOKENS, num_rows_per_part=10_000)


def many_lengths(num_documents: int) -> np.ndarray:
    """Lengths in tokens [num_documents], drawn in pieces to save memory."""
    chance = np.random.default_rng(0)
    lengths = np.empty(num_documents, np.uint16)
    for start in range(0, num_documents, 2**22):
        some = lengths[start : start + 2**22]
        some[:] = lognormal(len(some), chance)
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
    lengths = many_lengths(num_documents)
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
    for median, sigma in ((500, 1.0), (400, 0.6)):
        compare_fill(lognormal(200_000, np.random.default_rng(0), median=median, sigma=sigma), median, sigma)


def compare_fill(lengths: np.ndarray, median: float, sigma: float) -> None:
    """Print how full rows are, and the share of documents lost, for several ways of packing the same lengths."""
    print(f"{len(lengths):,} lengths, median {median}, sigma {sigma}, mean {lengths.mean():.0f} tokens")
    counts = length_counts(lengths, ROW_TOKENS)
    for name, window in (("the whole", None), ("windows of 4,096", 4096)):
        plan = plan_rows(lengths, row_tokens=ROW_TOKENS, key="benchmark", window_documents=window)
        certificate = certify(counts, plan.num_rows, ROW_TOKENS)
        show(
            f"  {name}",
            fill=f"{certificate.fill:.3%}",
            gap=f"{certificate.gap:.4%}",
            lost=f"{1 - len(plan.documents) / len(lengths):.0%}",
        )
    show(
        "  first-fit-decreasing over 1,000", fill=f"{certify(counts, first_fit_buffers(lengths), ROW_TOKENS).fill:.2%}"
    )
    for micro_batch in (16, 32, 64):
        fill, lost = released_way(lengths, micro_batch)
        show(f"  the released kit, {micro_batch} together", fill=f"{fill:.1%}", lost=f"{lost:.1%}")


def bench_plan_part(num_documents: int, folder: Path) -> None:
    """The plan part as a stage runs it, and an extrapolation as if all its memory grew with the documents."""
    seconds, made_bytes, memory_bytes = plan_in_a_fresh_process(num_documents, folder)
    show(
        f"the plan part, {num_documents:,}",
        speed=rate(num_documents, seconds),
        peak_memory=f"{memory_bytes / 2**30:.2f} GiB, {memory_bytes / num_documents:.1f} bytes a document",
        made=f"{made_bytes / num_documents:.1f} bytes a document",
    )
    times = TARGET_DOCUMENTS / num_documents
    show(
        f"  {TARGET_DOCUMENTS:,} by that",
        minutes=f"{times * seconds / 60:.1f}",
        memory=f"at most {times * memory_bytes / 2**30:.1f} GiB",
        made=f"{times * made_bytes / 2**30:.0f} GiB",
    )


def bench_lookup(num_samples: int, folder: Path, repeats: int) -> None:
    """Look-ups from samples to their rows: one at a time, with the prefix offsets in memory, and very many together."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        index = sample_index(num_samples, Path(place))
        data = index.artifact.read(index.record.file("sample_rows.bin"))
        chance = np.random.default_rng(1)
        asked = [data[20 * number : 20 * number + 16] for number in chance.integers(0, num_samples, 200_000).tolist()]
        del data
        index.rows_of(asked[0])
        times = sorted(cpu_seconds(partial(index.rows_of, sample_id)) for sample_id in asked[:2000])
        many = statistics.median(cpu_seconds(partial(index.rows_of_many, asked)) for _ in range(repeats))
        show(
            f"from a sample to rows, of {num_samples:,}",
            median=f"{1e6 * times[1000]:.0f} us",
            p99=f"{1e6 * times[1980]:.0f} us",
            together=f"{len(asked) / many:,.0f}/s",
            index=f"{index.record.file('sample_rows.bin').size_bytes / num_samples:.1f} bytes a sample",
        )


def bench_measure(folder: Path, num_pairs: int, repeats: int) -> None:
    """Phase `measure`, beside opening and resizing each picture."""
    draw, llm = make(draw_of(num_pairs), folder), make(LLM, folder)
    parts = [
        Part(name=record.part, task={name: record.facts[name] for name in ("source", "part")})
        for record in draw.phase("draw")
    ]

    sources = drawn_sources(draw)

    def ours() -> None:
        for part in parts:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                draft = Draft(Path(scratch), lambda _: None)
                measure_part(part, draft, draw=draw, sources=sources, llm=llm, limits=RECIPE.limits)

    source = sources["pairs"]
    samples = [sample for part in source.num_kept for sample in source.samples(part)][:400]
    pictures, tokenizer = source.pictures, tokenizer_of(llm)
    assert pictures is not None

    def opening() -> None:
        for sample in samples:
            pixels = open_pixels(pictures.image_of(sample.pictures[0].image), max_pixels_px=2**28)
            _, grid = to_uint8_patches(pixels, RECIPE.min_pixels_px, RECIPE.max_pixels_px)
            encode_caption(tokenizer, sample.pictures[0].caption, [grid[0] * grid[1] // 4])

    times, opening_times = [], []
    for _ in range(repeats):
        times.append(cpu_seconds(ours))
        opening_times.append(cpu_seconds(opening))
    speed, opening_speed = num_pairs / statistics.median(times), len(samples) / statistics.median(opening_times)
    show("measure", speed=f"{speed:,.0f}/s per core", ratio_to_opening=f"{speed / opening_speed:.1f}")
    show("opening and resizing each picture", speed=f"{opening_speed:,.0f}/s per core")


def bench_write(folder: Path, num_pairs: int, repeats: int) -> None:
    """Phase `write`, beside plain copies of the same pictures."""
    draw = make(draw_of(num_pairs), folder)
    rows = make(pack_rows.bind("rows", RECIPE, draw_of(num_pairs), LLM), folder)
    (written,) = rows.phase("write")
    sources = drawn_sources(draw)
    plan, inputs = rows.part("plan"), RowInputs.of(rows.store, sources, rows.phase("measure"))
    (part,) = planned_parts(rows.store, plan)
    pictures = sources["pairs"].pictures
    assert pictures is not None

    def ours(scratch: Path) -> None:
        write_part(part, Draft(scratch, lambda _: None), plan=plan, inputs=inputs)

    sides: dict[str, Callable[[Path], None]] = {
        "write": ours,
        "plain copy from tar to tar": partial(plain_copy, pictures=pictures, checked=False),
        "the same with both digests": partial(plain_copy, pictures=pictures, checked=True),
        "a copy by the standard tarfile": partial(tarfile_copy, pictures=pictures),
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


def bench_memory(folder: Path, num_pairs: int) -> None:
    """Peak memory of the whole stage for some pairs and for four times as many, in parts of the same size."""
    for number in (num_pairs // 4, num_pairs):
        make(draw_of(number), folder)
        make(LLM, folder)
        _, memory_bytes = in_a_fresh_process(pack_in_small_parts, folder, number)
        show(f"measure, plan and write {number:,}", peak_memory=f"{memory_bytes / 2**20:.0f} MiB")


def pack_in_small_parts(folder: Path, num_pairs: int) -> None:
    """Run `pack_rows` with parts of eight rows."""
    make(pack_rows.bind("rows", RECIPE.model_copy(update={"num_rows_per_part": 8}), draw_of(num_pairs), LLM), folder)


def tar_path(pictures: PairReader, record: PartRecord) -> Path:
    """The tar of a part, in the folder that the store is."""
    assert pictures.raw.store.folder is not None, "the store of a benchmark is a folder"
    return Path(pictures.raw.store.folder) / record.file("pairs.tar").key


def plain_copy(scratch: Path, pictures: PairReader, checked: bool) -> None:
    """The pictures from their tars into one, in the order in which they lie; `checked` by both digests, if asked."""
    number = 0
    with TarWriter(scratch / "copy.tar") as tar:
        for record in pictures.raw.parts:
            with tar_path(pictures, record).open("rb") as file:
                for pair in pictures.pairs_of(record.part):
                    file.seek(pair.image.offset)
                    image = file.read(pair.image.size_bytes)
                    if checked and hashlib.sha256(image).digest() != pair.image.sha256:
                        raise ValueError(f"{pair.url} is damaged")
                    tar.add(f"{number:09d}", {"jpg": image})
                    number += 1
                    if checked:
                        xxhash.xxh3_64_intdigest(image)


def tarfile_copy(scratch: Path, pictures: PairReader) -> None:
    """The pictures from their tars into one, unchecked, as a script would do it."""
    with tarfile.open(scratch / "copy.tar", "w") as target:
        for record in pictures.raw.parts:
            with tarfile.open(tar_path(pictures, record)) as tar:
                for member in tar:
                    if member.name.endswith(".jpg"):
                        target.addfile(member, tar.extractfile(member))


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", choices=("plan", "measure", "write"))
    parser.add_argument("--num-documents", type=int, default=10_000_000, help="documents planned")
    parser.add_argument("--num-measured", type=int, default=50_000_000, help="documents planned as a stage does")
    parser.add_argument("--num-pairs", type=int, default=5000, help="pairs measured and written, 45 KB each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the pairs are made for a while")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="local disk for large plans")
    asked = parser.parse_args()
    if asked.only in (None, "plan"):
        bench_plan(asked.num_documents, asked.repeats)
        bench_plan_part(asked.num_measured, asked.disk)
        bench_lookup(asked.num_measured, asked.disk, asked.repeats)
    if asked.only != "plan":
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            if asked.only in (None, "measure"):
                bench_measure(Path(folder), asked.num_pairs, asked.repeats)
            if asked.only in (None, "write"):
                bench_write(Path(folder), asked.num_pairs, asked.repeats)
                bench_memory(Path(folder), asked.num_pairs)


if __name__ == "__main__":
    main()
