"""Short films, and RawClips cut from them with their frames as JPEG files.

A film is one of `FILMS`: shapes that move over a textured ground, or one of the oddities that a filter is to find. Each
is a real H.264 file (`film_bytes`), and the frames of its clips are decoded from that file.
"""

import io
import zlib
from collections.abc import Sequence
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stages.artifacts.kinds import CLIPS_FILE, SAMPLES_FILE, RawClips
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.clips import clip_schema
from stages.formats.sample_table import balance_of, write_table
from stages.formats.tar import TarWriter
from stages.origins.sample_id import sample_id
from stages.video.encoding import encode_film

WIDTH_PX, HEIGHT_PX = 128, 96
FPS = 12.5
FILM_SECONDS = 4.0
FILMS = ("walk", "jump", "turn", "fall", "still", "black", "dark", "copy", "lone", "short")
"""Names of the films: four of shapes that move, then one that stands still, one that is black, one that is nearly so,
`walk` once more at a lower quality, one of which one frame is taken, and one of a fifth of a second."""
MOVING = ("walk", "jump", "turn", "fall")
LOST = "gone"
"""The name of a video that gave no clip."""
LOST_REASON = "video_unreadable"
COLOURS = ("#d02020", "#20b040", "#3050e0", "#e0c020")


class ClipsRecipe(Recipe):
    films: tuple[str, ...] = FILMS
    num_clips_per_film: int = 2
    """Clips of a film, of equal length, one after the other."""
    num_frames: int = 4
    """Frames of a clip, at interior points of it."""
    num_films_per_part: int = 4
    is_captioned: bool = True
    mute: tuple[str, ...] = ()
    """Films whose clips have no caption, where the others have one."""
    is_decoded: bool = True
    """Whether frames are decoded from the film's file; else they are as they were drawn, whatever encodes films."""


@lru_cache(maxsize=64)
def film_frames(name: str) -> tuple[NDArray[np.uint8], ...]:
    """The pictures of a film [96, 128, 3], 12.5 in a second."""
    num_frames = 3 if name == "short" else round(FILM_SECONDS * FPS)
    return tuple(drawn(name, number / FPS) for number in range(num_frames))


def drawn(name: str, seconds: float) -> NDArray[np.uint8]:
    """The picture of a film at a time: a ground of large tiles, and two shapes on their ways."""
    if name == "black":
        return np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    chance = np.random.default_rng(zlib.crc32((name if name != "copy" else "walk").encode()))
    tiles = chance.integers(60, 220, (4, 5, 3), np.uint8)
    image = Image.fromarray(tiles).resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    for number in range(2):
        start, way = chance.uniform(0.1, 0.6, 2), chance.uniform(-0.25, 0.25, 2)
        moved = 0.0 if name == "still" else seconds
        x, y = np.abs((start + way * moved + 1) % 2 - 1) * (WIDTH_PX - 40, HEIGHT_PX - 36)
        colour = COLOURS[int(chance.integers(len(COLOURS)))]
        draw = canvas.rectangle if number else canvas.ellipse
        draw((x, y, x + 36, y + 32), fill=colour)
    pixels = np.asarray(image)
    return (pixels * 0.14).astype(np.uint8) if name == "dark" else pixels


@lru_cache(maxsize=64)
def film_bytes(name: str) -> bytes:
    """The film as a file."""
    frames = film_frames(name)
    times = [number / FPS for number in range(len(frames))]
    return encode_film(frames, times, quality=34 if name == "copy" else 20)


@lru_cache(maxsize=64)
def decoded(name: str) -> tuple[NDArray[np.uint8], ...]:
    """The pictures of a film as its file has them."""
    import av

    with av.open(io.BytesIO(film_bytes(name))) as container:
        return tuple(frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def frame_times(num_frames: int, duration_seconds: float) -> list[float]:
    """Times of frames at interior points: 4 frames of 2 seconds stand at 0.4, 0.8, 1.2 and 1.6."""
    steps = [(number + 1) * duration_seconds / (num_frames + 1) for number in range(num_frames)]
    return [round(seconds * FPS) / FPS for seconds in steps]


def url_of(name: str) -> str:
    """The address of a film."""
    return f"http://films.invalid/{name}.mp4"


@stage(number=1, recipe=ClipsRecipe, makes=RawClips)
def make_clips(recipe: ClipsRecipe, *, ctx: StageContext) -> None:
    names = [*recipe.films, LOST]
    size = recipe.num_films_per_part
    groups = [names[first : first + size] for first in range(0, len(names), size)]
    over = [Part(name=f"{number:05d}", task={"films": group}) for number, group in enumerate(groups)]
    ctx.spread(partial(write_clips, recipe=recipe), over=over, phase="cut")


def write_clips(part: Part, draft: PartDraft, recipe: ClipsRecipe) -> None:
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    first_key = int(part.name) * 1_000_000
    with TarWriter(draft.path(CLIPS_FILE)) as tar:
        for name in part.task["films"]:
            if name == LOST:
                rows.append(lost_row())
                continue
            num_clips = 1 if name in ("lone", "short") else recipe.num_clips_per_film
            for number in range(num_clips):
                rows.append(clip_row(name, number, num_clips, recipe, tar, f"{first_key + len(rows):09d}"))
    table = pa.Table.from_pylist(rows, schema=clip_schema())
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


def lost_row() -> dict[str, Any]:
    return {
        "sample_id": sample_id("films", [LOST.encode()], 0),
        "url": url_of(LOST),
        "reference": f"{LOST}.mp4",
        "caption": "",
        "verdict": "failed",
        "reason": LOST_REASON,
        "retriable": False,
    }


def clip_row(name: str, number: int, num_clips: int, recipe: ClipsRecipe, tar: TarWriter, key: str) -> dict[str, Any]:
    """Write one clip, and its row."""
    pictures = decoded(name) if recipe.is_decoded else film_frames(name)
    length = len(pictures) / FPS / num_clips
    times = frame_times(1 if name == "lone" else recipe.num_frames, length)
    jpegs = [jpeg(pictures[min(round((number * length + time) * FPS), len(pictures) - 1)]) for time in times]
    is_captioned = recipe.is_captioned and name not in recipe.mute
    caption = f"part {number + 1} of the film called {name}, with shapes" if is_captioned else ""
    members = {f"{place:05d}.jpg": data for place, data in enumerate(jpegs)}
    offsets = tar.add(key, {**members, "txt": caption.encode(), "json": b"{}"})
    return {
        "sample_id": sample_id("films", [name.encode(), str(number).encode()], 0),
        "url": url_of(name),
        "reference": f"{name}.mp4",
        "caption": caption,
        "verdict": "kept",
        "reason": None,
        "retriable": False,
        "sha256": sha256(film_bytes(name) if recipe.is_decoded else name.encode()).digest(),
        "start_seconds": number * length,
        "end_seconds": (number + 1) * length,
        "width_px": WIDTH_PX,
        "height_px": HEIGHT_PX,
        "video_seconds": len(pictures) / FPS,
        "native_fps": FPS,
        "num_native_frames": round(length * FPS),
        "key": key,
        "frame_times": times,
        "frame_offsets": [offsets[ending] for ending in members],
        "frame_sizes_bytes": [len(data) for data in jpegs],
        "frame_sha256": [sha256(data).digest() for data in jpegs],
    }


def clip_id(name: str, number: int = 0) -> bytes:
    """The sample id of a clip of a film."""
    return sample_id("films", [name.encode(), str(number).encode()], 0)


def write_films(folder: Any, names: Sequence[str] = FILMS) -> None:
    """Write films as files `walk.mp4`, ... into a folder."""
    for name in names:
        (folder / f"{name}.mp4").write_bytes(film_bytes(name))
