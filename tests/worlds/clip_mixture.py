"""Small films as clips, made at once: frames stored as JPEG files, or the same film as packets, with captions."""

import hashlib
import io
import random
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from stages.artifacts.kinds import (
    CLIPS_FILE,
    CONVERSATIONS_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Conversations,
    KeptClips,
    KeptPairs,
    RawClips,
)
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, stage
from stages.formats.clip_reader import ClipReader
from stages.formats.clips import clip_schema
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from stages.formats.tar import TarWriter
from tests.worlds.mixture_world import KEPT, parts, sample_id, words


class ClipsRecipe(Recipe):
    num_clips: int = 24
    num_parts: int = 2
    num_frames: int = 6
    """Frames of the first clip; the others have up to four more."""
    width_px: int = 96
    height_px: int = 64
    seconds_per_frame: float = 0.5
    split: str = "train"
    storage: Literal["frames"] = "frames"


class EveryThirdRecipe(Recipe):
    pass


def drawn_frame(number: int, frame: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """A bright square that moves to the right over a ground of one colour."""
    width_px, height_px = size_px
    pixels = np.full((height_px, width_px, 3), [40 + 7 * number % 160, 60, 90], np.uint8)
    left = 8 * frame % (width_px - 16)
    pixels[16:32, left : left + 16] = [240, 240, 20 + 9 * frame % 200]
    return pixels


def jpeg_of(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def clip_row(number: int, recipe: ClipsRecipe) -> dict[str, Any]:
    """The row of a clip, without the places of its frames. Clips 2n and 2n + 1 are of one video."""
    num_frames = recipe.num_frames + number % 5
    name = f"{recipe.split}-{number // 2:04d}.mp4"
    start = 4.0 * (number % 2)
    return {
        "sample_id": sample_id(f"{recipe.split} clip {number}"),
        "url": f"films:{name}",
        "reference": name,
        "caption": f"{number} shows {words(random.Random(number), 3 + number % 7)}",
        "verdict": "kept",
        "sha256": hashlib.sha256(name.encode()).digest(),
        "start_seconds": start,
        "end_seconds": start + num_frames * recipe.seconds_per_frame,
        "width_px": recipe.width_px,
        "height_px": recipe.height_px,
        "video_seconds": 4.0 + (recipe.num_frames + (number | 1) % 5) * recipe.seconds_per_frame,
        "native_fps": 25.0,
        "num_native_frames": int(25 * num_frames * recipe.seconds_per_frame),
        "key": f"{number:09d}",
        "frame_times": [frame * recipe.seconds_per_frame for frame in range(num_frames)],
    }


def write_clips(part: Part, draft: PartDraft, recipe: ClipsRecipe) -> None:
    """Every tenth video gave no clip."""
    rows: list[dict[str, Any]] = []
    with TarWriter(draft.path(CLIPS_FILE)) as tar:
        for number in part.task["numbers"]:
            row = clip_row(number, recipe)
            if number % 10 == 9:
                names = {name: row[name] for name in ("sample_id", "url", "reference")}
                rows.append({**names, "verdict": "dropped", "reason": "too_short", "retriable": False})
                continue
            size_px = (recipe.width_px, recipe.height_px)
            frames = [jpeg_of(drawn_frame(number, frame, size_px)) for frame in range(len(row["frame_times"]))]
            members = {f"{frame:05d}.jpg": data for frame, data in enumerate(frames)}
            offsets = tar.add(row["key"], members | {"txt": row["caption"].encode()})
            row["frame_offsets"] = [offsets[name] for name in members]
            row["frame_sizes_bytes"] = list(map(len, frames))
            row["frame_sha256"] = [hashlib.sha256(data).digest() for data in frames]
            rows.append(row)
    table = pa.Table.from_pylist(rows, schema=clip_schema())
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=ClipsRecipe, makes=RawClips)
def make_clips(recipe: ClipsRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_clips, recipe=recipe), over=parts(recipe.num_clips, recipe.num_parts), phase="cut")


def judge_clips(part: Part, draft: PartDraft, raw: RawClips) -> None:
    table = ClipReader(raw).table(part.name)
    verdicts = ["dropped" if number % 3 == 2 else "kept" for number in range(table.num_rows)]
    columns = {
        "sample_id": pa.array(table["sample_id"].to_pylist(), sample_id_type()),
        "verdict": pa.array(verdicts, pa.string()),
        "reason": pa.array([None if verdict == "kept" else "too_dark" for verdict in verdicts], pa.string()),
    }
    write_table(pa.table(columns), draft.path(VERDICTS_FILE))
    draft.count(ItemBalance(kept=verdicts.count("kept"), dropped={"too_dark": verdicts.count("dropped")}))


@stage(number=1, recipe=EveryThirdRecipe, makes=KeptClips)
def drop_every_third_clip(_recipe: EveryThirdRecipe, raw: RawClips, *, ctx: StageContext) -> None:
    over = [Part(name=record.part, num_items=record.items.kept) for record in raw.parts]
    ctx.spread(partial(judge_clips, raw=raw), over=over, phase="judge")


CLIPS = make_clips.bind("clips", ClipsRecipe())
KEPT_CLIPS = drop_every_third_clip.bind("kept_clips", EveryThirdRecipe(), CLIPS)


class VideoChatsRecipe(Recipe):
    num_chats: int = 16


def write_video_chats(part: Part, draft: PartDraft, pictures: KeptPairs, clips: RawClips | KeptClips) -> None:
    """Chats about one clip, a picture and a clip, two clips, or nothing, whose text spells `<video>`."""
    pairs = [pair.sample_id for pair in PairReader(pictures)]
    videos = [clip.sample_id for clip in ClipReader(clips)]
    rows = []
    for number in part.task["numbers"]:
        chance = random.Random(f"video chat {number}")
        question, num_pairs, num_clips, tags = [
            ("<video>\nWhat moves?", 0, 1, None),
            ("<image>Is it in <video>?", 1, 1, None),
            ("Which is longer, <video> or <video>?", 0, 2, None),
            ("Write <video>.", 0, 0, []),
        ][number % 4]
        asked = {"role": "user", "content": question, "video_tags": tags}
        answer = {"role": "assistant", "content": words(chance, 4), "video_tags": None}
        row = {"sample_id": sample_id(f"video chat {number}"), "image_ids": chance.sample(pairs, num_pairs)}
        row |= {"clip_ids": chance.sample(videos, num_clips), "messages": [asked, answer]}
        rows.append(row | {"video_style": [None, "spatial"][number // 4 % 2], "verdict": "kept", "reason": None})
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("video_tags", pa.list_(pa.int32()))])
    names = {"sample_id": sample_id_type(), "image_ids": pa.list_(sample_id_type())}
    names |= {"clip_ids": pa.list_(sample_id_type()), "messages": pa.list_(message)}
    names |= dict.fromkeys(("video_style", "verdict", "reason"), pa.string())
    table = pa.Table.from_pylist(rows, schema=pa.schema(names))
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=VideoChatsRecipe, makes=Conversations)
def make_video_chats(
    recipe: VideoChatsRecipe, pictures: KeptPairs, clips: RawClips | KeptClips, *, ctx: StageContext
) -> None:
    work = partial(write_video_chats, pictures=pictures, clips=clips)
    ctx.spread(work, over=parts(recipe.num_chats, 1), phase="read")


VIDEO_CHATS = make_video_chats.bind("video_chats", VideoChatsRecipe(), KEPT, KEPT_CLIPS)
