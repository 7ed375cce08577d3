"""`neo look` at clips, at conversations about them, and at packed rows that hold them."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from cluster.local import make
from pipelines.preview.clips import clip_item
from pipelines.preview.items import PreviewStrip
from pipelines.preview.packed_rows import MAX_PICTURES, PLACES_SHOWN, preview_of_rows
from pipelines.preview.thumbnails import FRAMES_SHOWN, frames_in_words, shown_frames
from stages.artifacts.kinds import CLIPS_FILE
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.formats.clip_reader import ClipReader
from stages.formats.packed_rows.rows import RowReader
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.metadata import open_store
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.worlds.clip_mixture import VIDEO_CHATS
from tests.worlds.clip_world import ClipsRecipe, clip_id, make_clips
from tests.worlds.mixture_world import LLM

CLIPS = make_clips.bind("films", ClipsRecipe(num_frames=20))
KEPT = filter_clips.bind("kept_films", FilterClipsRecipe(), CLIPS)
SOURCES = {"clips": KEPT, "talk": VIDEO_CHATS}
DRAW = mix_samples.bind("mix", MixRecipe(shares=dict.fromkeys(SOURCES, 1)), SOURCES)
PACKING = PackRowsRecipe(max_row_tokens=2048, min_frame_pixels_px=1024, max_frame_pixels_px=4096)
ROWS = pack_rows.bind("rows", PACKING, DRAW, LLM)
STEPS = (CLIPS, KEPT, VIDEO_CHATS, ROWS)


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looked") / "store"
    open_store(Store(folder))
    for step in STEPS:
        make(step, Store(folder))
    return folder


def short(step) -> str:
    return f"{step.stage.name}/{step.fingerprint[:12]}"


def pictures_on(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_clips_are_shown_in_80_columns_and_as_strips_on_one_page(looked: NeoSite, tmp_path: Path, step) -> None:
    told = looked.neo("look", short(step), "--num", "4")
    assert told.code == 0, told
    assert all(len(line) <= 80 for line in told.out.splitlines()[:-1]), told.out
    assert "  strip 1: " in told.out
    page = tmp_path / "page.html"
    assert looked.neo("look", short(step), "--num", "4", "--html", str(page)).code == 0
    pictures = pictures_on(page.read_text())
    document = looked.neo("look", short(step), "--num", "4", "--json").json
    num_strips = sum(len(item["strips"]) for item in document["items"])
    assert 0 < num_strips < len(pictures)
    for picture in pictures:
        picture.load()


def test_a_clip_is_shown_with_its_place_in_the_video_and_the_times_of_its_frames(looked: NeoSite) -> None:
    item = looked.neo("look", short(CLIPS), "--num", "2", "--json").json["items"][1]
    assert item["heading"] == f"part 00000, row 1: sample {clip_id('walk', 1).hex()}"
    assert item["fields"]["video"] == "http://films.invalid/walk.mp4"
    assert item["fields"]["stretch"] == "2.00 to 4.00 s, 2.00 s"
    assert item["fields"]["frames"] == "20 of 25, at 12.5 a second"
    assert item["fields"]["size"] == "128 x 96 px"
    (strip,) = item["strips"]
    assert strip.startswith("2.00 s, 12 of 20 frames: 00:00.08, ") and strip.endswith(", 00:01.92")
    assert not {"frame_sha256", "key", "sha256"} & item["fields"].keys()


def test_verdicts_are_shown_with_what_was_measured(looked: NeoSite) -> None:
    items = looked.neo("look", short(KEPT), "--num", "50", "--json").json["items"]
    verdicts = [item["verdict"] for item in items]
    assert verdicts.count("kept") == 8 and verdicts.count("dropped: near_duplicate") == 2
    copy = next(item for item in items if item["verdict"] == "dropped: near_duplicate")
    assert copy["fields"]["nearly the same as"] == clip_id("walk").hex()
    assert float(copy["fields"]["motion"]) > 0.5
    assert all(len(item["strips"]) == 1 for item in items)


def test_a_video_without_clips_is_shown_with_its_reason(looked: NeoSite) -> None:
    item = looked.neo("look", short(CLIPS), "--num", "50", "--json").json["items"][-1]
    assert item["verdict"] == "failed: video_unreadable" and item["strips"] == []
    assert item["fields"]["reference"] == "gone.mp4"


def test_a_packed_clip_is_one_strip_with_the_times_that_the_model_reads(store_folder: Path) -> None:
    rows = make(ROWS, Store(store_folder))
    items = [item for row in RowReader(rows) for item in preview_of_rows(rows, skip=row.number, num_items=100).items]
    clips = [item for item in items if item.heading.endswith(": clips")]
    assert clips
    for item in clips:
        (strip,) = item.strips
        assert not item.pictures
        assert strip.about.startswith("12 of 20 pictures, 64 x 64 px") or "12 of 20 pictures" in strip.about
        assert len(strip.frames) == FRAMES_SHOWN
        assert strip.frames[0].about == "[00:00.08]"
        assert [frame.about for frame in strip.frames] == sorted(frame.about for frame in strip.frames)
        places = [span.text for span in item.spans if span.role == "picture"]
        assert len(places) == PLACES_SHOWN + 2
        assert places[PLACES_SHOWN].startswith("pictures 4 to 19 with the text between them: ")
        assert places[-1].startswith("picture 20: ")
    talks = [item for item in items if item.heading.endswith(": talk")]
    assert any(item.strips for item in talks) or any(len(item.pictures) <= MAX_PICTURES for item in talks)


def test_a_damaged_frame_is_said_and_the_others_clips_are_shown(tmp_path: Path) -> None:
    raw = make(make_clips.bind("clips", ClipsRecipe(films=("walk",))), Store(tmp_path))
    reader = ClipReader(raw)
    clip = reader.clip(clip_id("walk"))
    path = raw.store.folder / raw.part("00000").file(CLIPS_FILE).key
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[clip.frames[0].offset + 50] ^= 1
    path.write_bytes(data)
    rows = reader.table("00000").to_pylist()
    strips = [clip_item("00000", number, row, reader).strips[0] for number, row in enumerate(rows)]
    assert "is damaged" in strips[0].about and not strips[0].frames
    assert len(strips[1].frames) == 4


def test_a_strip_in_words() -> None:
    assert frames_in_words(1) == "1 frame" and frames_in_words(12) == "12 frames"
    assert frames_in_words(128) == "12 of 128 frames"
    assert len(shown_frames(128)) == FRAMES_SHOWN and shown_frames(3) == [0, 1, 2]
    assert PreviewStrip(about="nothing").told == "nothing"
