"""Clips from a draw to packed rows: whole, with the frames that were stored, and with nothing lost silently."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.local import make
from neo_model.inputs.conversation import IMAGE_CONTEXT
from stages.artifacts.kinds import (
    DRAW_FILE,
    HELD_OUT_FILE,
    MEASURED_FILE,
    ROW_INDEX_FILE,
    ROWS_FILE,
    SAMPLES_FILE,
    Draw,
    RawClips,
    Rows,
)
from stages.artifacts.records import ItemBalance, sha256_of
from stages.commit.parts import Draft
from stages.contract import Source, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.formats.clip_reader import ClipReader
from stages.formats.packed_rows.rows import RowReader
from stages.formats.sample_table import read_table
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.row_inputs import RowInputs
from stages.packing.write import rewrite_part
from stages.store.errors import StoreError
from stages.store.store import Store
from stages.video.limits import VideoLimits
from tests.worlds.clip_mixture import CLIPS, KEPT_CLIPS, VIDEO_CHATS, ClipsRecipe, make_clips
from tests.worlds.cut_world import film
from tests.worlds.mixture_world import KEPT, LLM, TEXTS

SOURCES = {"pairs": KEPT, "clips": KEPT_CLIPS, "talk": VIDEO_CHATS, "text": TEXTS}
MIX = mix_samples.bind("mix", MixRecipe(shares={"pairs": 1.0, "clips": 1.0, "talk": 1.0, "text": 1.0}), SOURCES)
SMALL = PackRowsRecipe(
    max_row_tokens=768,
    min_pixels_px=1024,
    max_pixels_px=65_536,
    min_frame_pixels_px=1024,
    max_frame_pixels_px=4096,
    num_rows_per_part=3,
)


def packed_of(store: Store, draw: Step[Draw] = MIX, **changes: Any) -> Rows:
    return make(pack_rows.bind("rows", SMALL.model_copy(update=changes), draw, LLM), store)


def listed(artifact: Any, phase: str, name: str) -> list[dict[str, Any]]:
    return [row for part in artifact.phase(phase) for row in read_table(artifact.read(part.file(name))).to_pylist()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def packed(store: Store) -> Rows:
    return packed_of(store)


def test_every_drawing_ends_whole_in_one_row(packed: Rows, store: Store) -> None:
    drawn = Counter((row["source"], row["sample_id"]) for row in listed(make(MIX, store), "draw", DRAW_FILE))
    in_rows: Counter[tuple[str, bytes]] = Counter()
    for row in RowReader(packed):
        in_rows.update(zip(row.sources, row.sample_ids, strict=True))
    assert in_rows == drawn and packed.manifest.items.kept == drawn.total()
    assert {source for source, _ in drawn} == SOURCES.keys()


def test_the_frames_of_a_clip_are_copied_and_told_of(packed: Rows, store: Store) -> None:
    clips, tokenizer = ClipReader(make(KEPT_CLIPS, store)), tokenizer_of(make(LLM, store))
    context = tokenizer.token_to_id(IMAGE_CONTEXT)
    num_seen = 0
    for row in RowReader(packed):
        starts = (row.token_ids == context) & (np.roll(row.token_ids, 1) != context)
        for number, source in enumerate(row.sources):
            start, end = row.document_offsets[number : number + 2].tolist()
            images = slice(int(starts[:start].sum()), int(starts[:end].sum()))
            num_visual = sum(int(height * width // 4) for height, width in row.image_grids[images])
            assert (row.token_ids[start:end] == context).sum() == num_visual
            if source == "clips":
                clip = clips.clip(row.sample_ids[number])
                assert row.images[images] == clips.frames.images_of(clip.frames)
                text = tokenizer.decode(row.token_ids[start:end].tolist())
                assert f"a series of {len(clip.frames)} frames sampled at 2.0 FPS.\n[00:00.00]:" in text
                assert clip.caption in text
                num_seen += 1
    assert num_seen >= 10


def test_what_was_taken_of_each_clip_is_measured(packed: Rows) -> None:
    measured = [row for row in listed(packed, "measure", MEASURED_FILE) if row.get("num_frames")]
    assert {row["num_frames"] == row["num_stored_frames"] for row in measured} == {True}
    assert {row["max_frame_pixels_px"] for row in measured} == {4096}
    facts = [part.facts for part in packed.phase("measure")]
    of_clips = [one for one in facts if one["source"] in ("clips", "talk")]
    assert sum(one["num_frames"] for one in of_clips) == sum(row["num_frames"] for row in measured)
    assert not any("num_frames" in one for one in facts if one["source"] in ("pairs", "text"))
    plan = packed.part("plan").facts
    assert (plan["num_frames"], plan["num_with_fewer_frames"]) == (sum(row["num_frames"] for row in measured), 0)


def test_long_samples_give_pixels_then_frames_and_the_rest_has_a_reason(store: Store) -> None:
    rows = packed_of(store, max_row_tokens=250, max_frame_pixels_px=8192)
    samples = listed(rows, "write", SAMPLES_FILE)
    assert Counter((row["source"], row["sample_id"]) for row in samples) == Counter(
        (row["source"], row["sample_id"]) for row in listed(make(MIX, store), "draw", DRAW_FILE)
    )
    assert {row["reason"] for row in samples} <= {None, "too_long"}
    measured = [row for row in listed(rows, "measure", MEASURED_FILE) if row.get("num_frames")]
    assert any(row["max_frame_pixels_px"] < 8192 for row in measured)
    assert any(row["num_frames"] < row["num_stored_frames"] for row in measured)
    assert all(row["num_tokens"] <= 250 for row in measured)
    assert sum(part.facts.get("num_with_fewer_frames", 0) for part in rows.phase("measure")) == sum(
        row["num_frames"] < row["num_stored_frames"] for row in measured
    )


def test_a_part_is_written_again_from_the_rows_alone(packed: Rows, tmp_path: Path) -> None:
    written = packed.phase("write")[1]
    draft = Draft(tmp_path, lambda _: None)
    rewrite_part(packed, written.part, draft)
    assert {name: sha256_of(path) for name, path in draft.files()} == {f.name: f.sha256 for f in written.files}


def test_clips_no_filter_judged_may_be_drawn(store: Store) -> None:
    draw = mix_samples.bind("mix", MixRecipe(shares={"clips": 1.0}), {"clips": CLIPS})
    assert packed_of(store, draw).manifest.items.kept == 22


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_shares_in_tokens_count_frames(store: Store, with_tokenizer: bool) -> None:
    recipe = MixRecipe(
        shares={"clips": 1.0, "text": 1.0},
        unit="tokens",
        max_epochs={"text": 100, "clips": 20},
        num_samples=200,
        min_frame_pixels_px=1024,
        max_frame_pixels_px=4096,
    )
    step = mix_samples.bind("mix", recipe, {"clips": KEPT_CLIPS, "text": TEXTS}, None, LLM if with_tokenizer else None)
    draw = make(step, store)
    packed = packed_of(store, step).part("plan").facts["packed"]
    tokens = {name: packed[name]["tokens"] for name in packed}
    assert sum(part.facts["num_tokens"] for part in draw.phase("draw") if part.facts["source"] == "clips") > 0
    tolerance = 0.1 if with_tokenizer else 0.7
    assert tokens["clips"] == pytest.approx(tokens["text"], rel=tolerance)


def test_clips_of_held_out_videos_are_not_drawn_alone_nor_in_conversations(store: Store) -> None:
    """The held-out clips are of the first two videos under other names: their files and their frames are the same."""
    exam = make_clips.bind("exam", ClipsRecipe(num_clips=4, num_parts=1))
    draw = make(
        mix_samples.bind(
            "mix",
            MixRecipe(shares={"clips": 1.0, "talk": 1.0}),
            {"clips": KEPT_CLIPS, "talk": VIDEO_CHATS},
            {"exam": exam},
        ),
        store,
    )
    held_out = listed(draw, "hold_out", HELD_OUT_FILE)
    examined = {clip.video_sha256 for clip in ClipReader(make(exam, store))}
    clips = {clip.sample_id: clip for clip in ClipReader(make(KEPT_CLIPS, store))}
    wanted = {one for one, clip in clips.items() if clip.video_sha256 in examined}
    chats = listed(make(VIDEO_CHATS, store), "read", "conversations.parquet")
    wanted |= {chat["sample_id"] for chat in chats if wanted & set(chat["clip_ids"])}
    assert {row["sample_id"] for row in held_out} == wanted and len(wanted) > 3
    assert {row["by"] for row in held_out} >= {"sample_id", "video"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(5):
        (folder / f"{number}.mp4").write_bytes(film(2.0 + number / 2, num_scenes=2, seed=number))
        (folder / f"{number}.txt").write_text("a red square on the left")
    return folder


def cut_films(stored: str) -> Step[RawClips]:
    """The clips of a folder of films, whose frames are stored so."""
    recipe = CutClipsRecipe.model_validate(
        {"source": Source("mine"), "sampling": {"frames_per_second": 4.0}, "store": stored, "check_packets": False}
    )
    return cut_clips.bind("clips", recipe)


def packed_films(store: Store, folder: Path, stored: str) -> Rows:
    """Rows of these clips."""
    draw = mix_samples.bind("mix", MixRecipe(shares={"clips": 1.0}), {"clips": cut_films(stored)})
    return make(pack_rows.bind("rows", SMALL, draw, LLM), store, sources={"mine": str(folder)})


def test_packets_and_frames_give_the_same_rows(films: Path, tmp_path: Path) -> None:
    frames, packets = (packed_films(Store(tmp_path / stored), films, stored) for stored in ("frames", "packets"))
    assert [row.images for row in RowReader(frames)] == [row.images for row in RowReader(packets)]
    for name in (ROWS_FILE, ROW_INDEX_FILE, SAMPLES_FILE):
        files = [[part.file(name).sha256 for part in rows.phase("write")] for rows in (frames, packets)]
        assert files[0] == files[1], name
    assert sum(len(row.images) for row in RowReader(packets)) == sum(
        part.facts["num_frames"] for part in packets.phase("measure")
    )


def with_broken_slices(mp4: bytes) -> bytes:
    """The film with noise in each of its slices, behind the byte that says what it is."""
    broken, chance = bytearray(mp4), np.random.default_rng(0)
    at = mp4.index(b"mdat") + 4
    end = at - 8 + int.from_bytes(mp4[at - 8 : at - 4], "big")
    while at < end:
        size = int.from_bytes(mp4[at : at + 4], "big")
        if mp4[at + 4] & 31 in (1, 5):
            broken[at + 6 : at + 4 + size] = chance.bytes(size - 2)
        at += 4 + size
    return bytes(broken)


def test_a_clip_whose_packets_cannot_be_decoded_is_dropped_with_its_reason(films: Path, tmp_path: Path) -> None:
    """Cut without decoding, so that nobody noticed; noticed before rows are planned."""
    shutil.copytree(films, tmp_path / "films")
    (tmp_path / "films/3.mp4").write_bytes(with_broken_slices((films / "3.mp4").read_bytes()))
    rows = packed_films(Store(tmp_path / "store"), tmp_path / "films", "packets")
    assert rows.manifest.items == ItemBalance(kept=4, dropped={"undecodable": 1})
    assert sum(len(set(row.sample_ids)) for row in RowReader(rows)) == 4


def test_a_clip_that_cannot_be_decoded_when_rows_are_written_is_named(films: Path, tmp_path: Path) -> None:
    """It is decoded under the limits of its own recipe; under tighter ones it could not be."""
    store = Store(tmp_path)
    clips = ClipReader(make(cut_films("packets"), store, sources={"mine": str(films)}))
    clip = next(iter(clips))
    facts = clips.frames.encodings[clip.part]
    assert facts.limits == CutClipsRecipe(source=Source("mine")).limits != VideoLimits()
    tight = facts.model_copy(update={"limits": VideoLimits(max_frame_px=10)})
    frames = replace(clips.frames, encodings={clip.part: tight})
    inputs = RowInputs(store=store, measured=(), pictures={}, frames={"mine": frames})
    with pytest.raises(StoreError, match=f"clip {clip.sample_id.hex()} of .*cut the clips with store='frames'"):
        list(inputs.frames_of("mine", clip.frames))
