"""What finding near duplicates among clips costs: time and memory at two sizes, and frames hashed a second.

    python -m benchmarks.near_clips --num-clips 1000000

Clips have random hashes, a tenth of them those of another clip with up to 12 of 192 bits changed. One part of phase
`compare` is carried out on all of them, and on a quarter, each in a process of its own; its memory must not grow with
the number of clips. The baseline is comparing all clips with all others by the same distance, on 20,000 of them, and
for frames, decoding them at full size.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from cluster.local import make
from neo_model.inputs.pictures import open_pixels
from stages.artifacts.kinds import KeptClips
from stages.clip_filters.comparing import MAX_RANGES, ComparedFacts, MeasuredClipFacts, compare_clips, key_ranges
from stages.clip_filters.frame_measures import measure_frames, small_grey
from stages.clip_filters.measured import HASHES, MEASURED_FILE
from stages.clip_filters.near_duplicates import MAX_BITS
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import sample_id_type, write_table
from stages.store.store import Store

CLIPS_PER_PART = 10_000
NUM_COMPARED_WITH_ALL = 20_000
FRAME_PX = (640, 360)
NUM_FRAMES = 200


class HashesRecipe(Recipe):
    """Clips with random hashes."""

    num_clips: int


def write_hashes(part: Part, draft: PartDraft) -> None:
    """The measured table of one part."""
    import pyarrow as pa

    hashes = hashes_of(int(part.name.partition("_")[2]), CLIPS_PER_PART)
    ids = [number.to_bytes(16, "big") for number in range(CLIPS_PER_PART)]
    columns = {"sample_id": pa.array(ids, sample_id_type()), "own_reason": pa.nulls(CLIPS_PER_PART, pa.string())}
    columns |= {name: pa.array(hashes[:, number]) for number, name in enumerate(HASHES)}
    columns |= {name: pa.array(np.arange(CLIPS_PER_PART, dtype=np.uint64)) for name in ("stretch", "caption")}
    write_table(pa.table(columns), draft.path(MEASURED_FILE))
    draft.fact(**MeasuredClipFacts(num_compared=CLIPS_PER_PART).dump())


def hashes_of(seed: int, num_clips: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Hashes [n, 3], of which every tenth clip has nearly those of the clip before it."""
    chance = np.random.default_rng(seed)
    hashes = chance.integers(0, 2**64, (num_clips, 3), np.uint64, endpoint=False)
    for row in range(9, num_clips, 10):
        hashes[row] = hashes[row - 1]
        for bit in chance.choice(192, int(chance.integers(0, 13)), replace=False).tolist():
            hashes[row, bit // 64] ^= np.uint64(1 << bit % 64)
    return hashes


def compare_first(part: Part, draft: PartDraft, **arguments: Any) -> None:
    """Carry out one part of phase `compare`, and record what it took."""
    before = time.process_time()
    compare_clips(part, draft, **arguments)
    draft.fact(cpu_seconds=time.process_time() - before)


@stage(number=1, recipe=HashesRecipe, makes=KeptClips)
def compare_hashes(recipe: HashesRecipe, *, ctx: StageContext) -> None:
    """The first part of phase `compare` alone."""
    parts = [Part(name=f"part_{number:05d}") for number in range(recipe.num_clips // CLIPS_PER_PART)]
    measured = ctx.spread(write_hashes, over=parts, phase="measure")
    over = key_ranges(recipe.num_clips)[:1]
    ctx.spread(
        partial(compare_first, store=ctx.store, measured=measured, max_bits=MAX_BITS), over=over, phase="compare"
    )
    ctx.spread(_nothing, over=[Part(name="end")], phase="judge")


def _nothing(_: Part, draft: PartDraft) -> None:
    draft.count(ItemBalance())


def compared(num_clips: int) -> dict[str, float]:
    """What one part took, in this process."""
    with TemporaryDirectory() as folder:
        made = make(compare_hashes.bind("compared", HashesRecipe(num_clips=num_clips)), Store(Path(folder)))
        (record,) = made.phase("compare")
    return {
        "num_clips": num_clips,
        "num_ranges": len(key_ranges(num_clips)),
        "num_under_keys": ComparedFacts.of(record).num_compared,
        "cpu_seconds": record.facts["cpu_seconds"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def seconds_of_all_with_all(num_clips: int) -> float:
    """CPU seconds of comparing each of so many clips with each other one."""
    hashes = hashes_of(0, num_clips)
    before = time.process_time()
    for row in range(1, num_clips):
        changed = np.ascontiguousarray(hashes[:row] ^ hashes[row])
        (np.unpackbits(changed.view(np.uint8)[:, :1], axis=1).sum(axis=1) <= MAX_BITS).any()
    return time.process_time() - before


def frames_a_second() -> tuple[float, float]:
    """Frames a second of CPU time: measured, and decoded at full size."""
    noise = np.random.default_rng(0).integers(0, 256, (FRAME_PX[1] // 20, FRAME_PX[0] // 20, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noise).resize(FRAME_PX, Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    jpeg, rates = encoded.getvalue(), []
    for work in (_measured, _decoded):
        before = time.process_time()
        work(jpeg)
        rates.append(NUM_FRAMES / (time.process_time() - before))
    return rates[0], rates[1]


def _measured(jpeg: bytes) -> None:
    frames = [small_grey(jpeg) for _ in range(NUM_FRAMES)]
    measure_frames(frames, [float(number) for number in range(NUM_FRAMES)], float(NUM_FRAMES))


def _decoded(jpeg: bytes) -> None:
    for _ in range(NUM_FRAMES):
        open_pixels(jpeg, max_pixels_px=10**7)


def main() -> None:
    """Print a line for each size, then the baselines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-clips", type=int, default=1_000_000, help="the larger size")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(compared(options.num_clips)))
        return
    for num_clips in (options.num_clips // 4, options.num_clips):
        command = [sys.executable, "-m", "benchmarks.near_clips", "--child", "--num-clips", str(num_clips)]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        whole = took["cpu_seconds"] * took["num_ranges"] / num_clips * 1e6
        print(
            f"{num_clips:,} clips, {took['num_ranges']} of at most {MAX_RANGES} parts: one takes "
            f"{took['cpu_seconds']:.1f} s of CPU time and {took['peak_mib']:.0f} MiB, all {whole:.0f} s a million clips"
        )
    seconds = seconds_of_all_with_all(NUM_COMPARED_WITH_ALL)
    scaled = seconds * (1e6 / NUM_COMPARED_WITH_ALL) ** 2
    print(f"all with all: {seconds:.1f} s for {NUM_COMPARED_WITH_ALL:,} clips, so {scaled:,.0f} s for a million")
    measured, decoded = frames_a_second()
    print(
        f"frames of {FRAME_PX[0]} x {FRAME_PX[1]} px: {measured:,.0f} measured a second, {decoded:,.0f} decoded: "
        f"{measured / decoded:.1f} times as many"
    )


if __name__ == "__main__":
    main()
