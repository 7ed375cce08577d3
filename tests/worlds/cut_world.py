"""Films to cut, and what a run of `cut_clips` made of them."""

import io
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.local import make
from stages.artifacts.kinds import CLIPS_FILE, SAMPLES_FILE, RawClips
from stages.contract import Source
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.video.encoding import encode_film

FPS = 25.0
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 220), (220, 200, 40))

SRT = "1\n00:00:00,500 --> 00:00:01,500\nfirst words\n\n2\n00:00:01,800 --> 00:00:03,000\n<i>second</i> words\n"


def picture_at(number: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A frame [48, 64, 3]: a ground of one colour, and a white column that moves to the right."""
    pixels = np.full((48, 64, 3), colour, np.uint8)
    pixels[:, (2 * number) % 60 :][:, :4] = 255
    return pixels


@lru_cache(maxsize=32)
def film(seconds: float = 4.0, num_scenes: int = 1, seed: int = 0) -> bytes:
    """A film of 25 frames a second, in scenes of equal length and different colours."""
    num_frames = round(seconds * FPS)
    colours = [COLOURS[(seed + number * num_scenes // num_frames) % len(COLOURS)] for number in range(num_frames)]
    frames = [picture_at(number + seed, colour) for number, colour in enumerate(colours)]
    return encode_film(frames, [number / FPS for number in range(num_frames)])


def cut(
    tmp_path: Path, source: Path | str, *, videos: Path | str | None = None, root: str = "store", **fields: Any
) -> RawClips:
    """What `cut_clips` makes of a file or folder, with two frames a second."""
    sources = {"mine": str(source)} | ({} if videos is None else {"films": str(videos)})
    recipe = CutClipsRecipe.model_validate(
        {
            "source": Source("mine"),
            "videos": None if videos is None else Source("films"),
            "sampling": {"frames_per_second": 2.0},
            "max_share_lost": 1.0,
            **fields,
        }
    )
    return make(cut_clips.bind("clips", recipe), tmp_path / root, sources=sources)


def table_of(raw: RawClips) -> pa.Table:
    """The sample tables of all parts."""
    return pa.concat_tables([pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))) for part in raw.parts])


def rows_of(raw: RawClips) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table_of(raw).to_pylist()
    return rows


def ends_of(raw: RawClips) -> dict[str, list[str]]:
    """Reference to the reasons of its rows, `kept` for clips."""
    ends: dict[str, list[str]] = {}
    for row in rows_of(raw):
        ends.setdefault(row["reference"], []).append(row["reason"] or row["verdict"])
    return ends


def spans_of(raw: RawClips) -> list[tuple[float, float, str]]:
    """Start, end and caption of the clips, in order."""
    kept = [row for row in rows_of(raw) if row["verdict"] == "kept"]
    return [(round(row["start_seconds"], 3), round(row["end_seconds"], 3), row["caption"]) for row in kept]


def tar_bytes(members: Mapping[str, bytes]) -> bytes:
    """A tar of these members, as other tools write it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return written.getvalue()


def tar_members_of(raw: RawClips) -> list[str]:
    """The names in the tars of all parts."""
    names: list[str] = []
    for part in raw.parts:
        with tarfile.open(fileobj=io.BytesIO(raw.read(part.file(CLIPS_FILE)))) as tar:
            names += tar.getnames()
    return names
