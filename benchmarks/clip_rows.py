"""Clips to packed rows: measuring and writing, from frames and from packets, each beside a plainer way in the same run.

`python -m benchmarks.clip_rows`   some minutes, most of them for making the films

measure  a clip of 120 frames fitted to a row and recorded. Beside it: its text tokenised in one call; the bytes of its
         record beside those of the same document with all its tokens.
write    rows of clips that are stored as frames, and as packets. Beside them: a plain copy of the same frames from tar
         to tar, and decoding the same packets without writing anything.
memory   peak of the process that measures, plans and writes, for some clips and for four times as many.

CPU seconds of the process and of its decoder count. The sides alternate, and the median is printed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.pair_world import LLM
from benchmarks.planning import in_a_fresh_process
from cluster.local import make
from neo_model.inputs.video_text import clip_lines
from stages.artifacts.kinds import RawClips, Rows
from stages.commit.draft import Draft
from stages.contract import Source, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.formats.clip_reader import ClipReader
from stages.formats.fit_sample import fit
from stages.formats.sample_sources import drawn_sources
from stages.formats.samples import CaptionedClip
from stages.formats.tar import TarWriter
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.document_records import to_record
from stages.packing.plan_file import planned_parts
from stages.packing.row_inputs import RowInputs
from stages.packing.write import write_part
from stages.video.encoding import encode_film
from stages.video.packets import close_packet_decoder, decode_packet_frames

FILM_SECONDS, FILM_FPS, NUM_FRAMES = 30.0, 12.5, 120
RECIPE = PackRowsRecipe(max_row_tokens=36_864)


def write_films(folder: Path, num_films: int) -> None:
    """Films of 640 x 360 px: a texture that moves by some pixels a frame, with its caption beside it."""
    folder.mkdir()
    for number in range(num_films):
        chance = np.random.default_rng(number)
        ground = np.kron(chance.integers(0, 256, (20, 40, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
        count = int(FILM_SECONDS * FILM_FPS)
        frames = [np.ascontiguousarray(ground[:360, (3 * one) % 150 :][:, :640]) for one in range(count)]
        film = encode_film(frames, [one / FILM_FPS for one in range(count)], quality=26)
        (folder / f"{number:03d}.mp4").write_bytes(film)
        (folder / f"{number:03d}.txt").write_text(f"texture {number} moves to the left and begins again")


def clips_of(stored: str) -> Step[RawClips]:
    """The step that cuts the films, and stores them so."""
    sampling = {"frames_per_second": NUM_FRAMES / FILM_SECONDS}
    recipe = {"source": Source("films"), "sampling": sampling, "store": stored, "num_videos_per_part": 16}
    return cut_clips.bind("clips", CutClipsRecipe.model_validate(recipe))


def rows_of(stored: str, num_rows_per_part: int = 1000) -> Step[Rows]:
    """The step that packs them."""
    draw = mix_samples.bind("mix", MixRecipe(shares={"clips": 1.0}), {"clips": clips_of(stored)})
    return pack_rows.bind("rows", RECIPE.model_copy(update={"num_rows_per_part": num_rows_per_part}), draw, LLM)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the work, its decoder included."""
    before = time.process_time(), children_seconds()
    work()
    close_packet_decoder()
    return time.process_time() - before[0] + children_seconds() - before[1]


def children_seconds() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bench_measure(store: Path, films: Path, repeats: int) -> None:
    """Fitting and recording a clip, beside tokenising its text."""
    clip = next(iter(ClipReader(make(clips_of("frames"), store, sources={"films": str(films)}))))
    tokenizer, sample = tokenizer_of(make(LLM, store)), CaptionedClip.of(clip)
    text = clip_lines(clip.frame_times, clip.duration_seconds) + clip.caption

    def ours() -> bytes:
        fitted = fit(sample, tokenizer, RECIPE.limits)
        return to_record(clip.sample_id, fitted.documents[0], fitted.images, fitted.grids)

    times, text_times = [], []
    for _ in range(repeats):
        times.append(cpu_seconds(lambda: [ours() for _ in range(50)]) / 50)
        text_times.append(cpu_seconds(lambda: [tokenizer.encode(text) for _ in range(50)]) / 50)
    taken, of_text = statistics.median(times), statistics.median(text_times)
    print(
        f"measure  {1e3 * taken:.2f} ms a clip of {len(clip.frames)} frames, {taken / of_text:.1f} times its text alone"
    )
    fitted = fit(sample, tokenizer, RECIPE.limits)
    as_pictures = [image._replace(is_frame=False) for image in fitted.images]
    num_bytes = len(to_record(clip.sample_id, fitted.documents[0], as_pictures, fitted.grids))
    print(f"record   {len(ours()):,} bytes, {num_bytes / len(ours()):.1f} times less than with all its tokens")


def write_rows(scratch: Path, rows: Rows) -> None:
    """Phase `write` of committed rows once more."""
    inputs = RowInputs.of(rows.store, drawn_sources(rows.input("draw", mix_samples.makes)), rows.phase("measure"))
    plan = rows.part("plan")
    for part in planned_parts(rows.store, plan):
        write_part(part, Draft(scratch / part.name, lambda _: None), plan=plan, inputs=inputs)


def copy_frames(scratch: Path, clips: ClipReader) -> None:
    """The frames of all clips from their tars into one, unchecked."""
    with TarWriter(scratch / "copy.tar") as tar:
        for number, clip in enumerate(clips):
            key = clips.frames.tars[clip.part]
            frames = [clips.frames.store.read_range(key, one.offset, one.size_bytes) for one in clip.frames]
            tar.add(f"{number:09d}", {f"{at:05d}.jpg": frame for at, frame in enumerate(frames)})


def decode_alone(_scratch: Path, clips: ClipReader) -> None:
    """The frames of all clips from their packets, and nothing more."""
    for clip in clips:
        packets = clips.frames.image_of(clip.frames[0])
        pts = [frame.pts for frame in clip.frames if frame.pts is not None]
        facts = clips.frames.encodings[clip.part]
        decode_packet_frames(packets, pts, facts.max_frame_px, facts.jpeg_quality, facts.limits)


def bench_write(store: Path, films: Path, repeats: int) -> None:
    """Phase `write` from both ways of storing, beside a copy and beside decoding."""
    frames, packets = (make(rows_of(stored), store, sources={"films": str(films)}) for stored in ("frames", "packets"))
    of_frames, of_packets = (
        ClipReader(make(clips_of(one), store, sources={"films": str(films)})) for one in ("frames", "packets")
    )
    sides = {
        "from frames": partial(write_rows, rows=frames),
        "plain copy of the frames": partial(copy_frames, clips=of_frames),
        "from packets": partial(write_rows, rows=packets),
        "decoding the packets alone": partial(decode_alone, clips=of_packets),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + repeats):
        for name, work in sides.items():
            with tempfile.TemporaryDirectory(dir=store) as scratch:
                seconds = cpu_seconds(partial(work, Path(scratch)))
                times[name] += [seconds] if number else []  # the first time imports what it needs
    taken = {name: statistics.median(seconds) for name, seconds in times.items()}
    speeds = {name: of_frames.num_kept / seconds for name, seconds in taken.items()}
    for name, beside in (("from frames", "plain copy of the frames"), ("from packets", "decoding the packets alone")):
        ratio = speeds[name] / speeds[beside]
        print(f"write    {name}: {speeds[name]:.1f} clips/s per core, {ratio:.2f} times the speed of {beside}")
    ratio = sum(clip.frames[0].size_bytes for clip in of_packets) / sum(
        one.size_bytes for clip in of_frames for one in clip.frames
    )
    print(f"stored   packets take {ratio:.2f} times the bytes of frames")


def pack_alone(store: Path, films: Path) -> None:
    """Cut and pack, in rows of small parts."""
    make(rows_of("packets", 4), store, sources={"films": str(films)})


def bench_memory(folder: Path, films: Path, num_films: int) -> None:
    """Peak memory for some clips and for four times as many."""
    for times in (1, 4):
        many = folder / f"films{times}"
        many.mkdir()
        for film in sorted(films.glob("*.mp4")):
            for copy in range(times):
                shutil.copy(film, many / f"{film.stem}_{copy}.mp4")
                shutil.copy(film.with_suffix(".txt"), many / f"{film.stem}_{copy}.txt")
        _, memory_bytes = in_a_fresh_process(pack_alone, folder / f"store{times}", many)
        print(f"memory   {times * num_films} clips in packets, cut and packed: {memory_bytes / 2**20:.0f} MiB")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-films", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_films(folder / "films", asked.num_films)
        bench_measure(folder / "store", folder / "films", asked.repeats)
        bench_write(folder / "store", folder / "films", asked.repeats)
        bench_memory(folder, folder / "films", asked.num_films)


if __name__ == "__main__":
    main()
