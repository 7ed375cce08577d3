"""Clips are found by table, by sample id and by name of their video, and their frames are checked as they are read."""

import io
import pickle
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import CLIPS_FILE, KeptClips, RawClips
from stages.formats import read_ahead
from stages.formats.clip_reader import ClipReader, FrameReader
from stages.formats.judged import kept_tables
from stages.formats.pairs import ImageReader
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.clip_mixture import CLIPS, KEPT_CLIPS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def kept(store: Store) -> KeptClips:
    return make(KEPT_CLIPS, store)


@pytest.fixture(scope="module")
def raw(kept: KeptClips, store: Store) -> RawClips:
    return make(CLIPS, store)


def test_kept_clips_come_in_table_order_with_their_place(kept: KeptClips) -> None:
    reader = ClipReader(kept)
    clips = list(reader)
    assert len(clips) == reader.num_kept == kept.manifest.items.kept == 15
    assert clips == sorted(clips, key=lambda clip: (clip.part, clip.position))
    assert all(reader.clip(clip.sample_id) == clip for clip in clips[::3])
    assert len(clips[0].frames) == len(clips[0].frame_times) == 6


def test_raw_clips_hold_those_that_no_filter_judged(kept: KeptClips, raw: RawClips) -> None:
    all_clips = {clip.sample_id: clip for clip in ClipReader(raw)}
    assert len(all_clips) == raw.manifest.items.kept == 22
    assert all(all_clips[clip.sample_id].frames == clip.frames for clip in ClipReader(kept))


def test_clips_of_one_video_are_found_by_its_name_and_by_its_url(raw: RawClips) -> None:
    reader = ClipReader(raw)
    clips = [clip for clip in reader if clip.reference == "train-0003.mp4"]
    assert [clip.start_seconds for clip in clips] == [0.0, 4.0]
    for name in ("train-0003.mp4", "films:train-0003.mp4"):
        assert list(reader.sample_ids_of(name)) == [clip.sample_id for clip in clips]
        assert reader.sample_id_of(name) == clips[0].sample_id
    assert reader.sample_id_of("train-9999.mp4") is None


def test_a_clip_that_was_not_kept_is_not_found(kept: KeptClips, raw: RawClips) -> None:
    reader = ClipReader(kept)
    dropped = {clip.sample_id for clip in ClipReader(raw)} - {clip.sample_id for clip in reader}
    with pytest.raises(KeyError, match="no kept clip of KeptClips"):
        reader.clip(dropped.pop())


def test_frames_are_the_ones_that_were_stored(kept: KeptClips) -> None:
    reader = ClipReader(kept)
    clip = next(iter(reader))
    frames = pickle.loads(pickle.dumps(reader.frames)).images_of(clip.frames)  # noqa: S301 - our own
    assert [len(data) for data in frames] == [frame.size_bytes for frame in clip.frames]
    assert {Image.open(io.BytesIO(data)).size for data in frames} == {(clip.width_px, clip.height_px)}


def test_a_reader_travels_small(kept: KeptClips) -> None:
    reader = ClipReader(kept)
    before = len(pickle.dumps(reader))
    clips = list(reader)
    reader.clip(clips[0].sample_id)
    assert len(pickle.dumps(reader)) == before
    assert list(pickle.loads(pickle.dumps(reader))) == clips  # noqa: S301 - our own


def test_a_damaged_frame_is_noticed_and_named(kept: KeptClips, store: Store, tmp_path: Path) -> None:
    assert store.folder is not None
    shutil.copytree(store.folder, tmp_path / "store")
    raw = open_artifact(Store(tmp_path / "store"), "make_clips", kept.input("raw", RawClips).fingerprint, RawClips)
    frame = next(iter(ClipReader(raw))).frames[2]
    path = raw.store.folder / raw.part(frame.part).file(CLIPS_FILE).key
    damaged = bytearray(path.read_bytes())
    damaged[frame.offset + 100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=f"clips.tar of .* is damaged at byte {frame.offset}: .*--repair"):
        ClipReader(raw).frames.images_of([frame])


def test_a_large_table_is_found_in_without_its_columns_of_frames(
    raw: RawClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by ranges, it says the same as read whole."""
    whole = [(clip.sample_id, clip.reference) for clip in ClipReader(raw)]
    monkeypatch.setattr(kept_tables, "READ_WHOLE_BYTES", 0)
    reader = ClipReader(raw)
    assert [(clip.sample_id, clip.reference) for clip in reader] == whole
    names = set(reader.read_table(reader.parts[0], ["caption", "of_nobody"]).column_names)
    assert names == {"sample_id", "caption", "verdict", "position"}
    assert reader.sample_id_of("train-0003.mp4") == ClipReader(raw).sample_id_of("train-0003.mp4")


def test_the_frames_of_a_clip_are_one_read_and_others_lie_where_they_lie(
    raw: RawClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ClipReader(raw).frames
    clips = list(ClipReader(raw))[:3]
    singly = [reader.image_of(frame) for clip in clips for frame in clip.frames]
    reads: list[int] = []

    def counting(self: FrameReader, part: str, offset: int, size_bytes: int) -> bytes:
        reads.append(size_bytes)
        return ImageReader.read(self, part, offset, size_bytes)

    monkeypatch.setattr(FrameReader, "read", counting)
    assert reader.images_of(clips[0].frames) == singly[: len(clips[0].frames)]
    assert len(reads) == 1
    backwards = [frame for clip in reversed(clips) for frame in reversed(clip.frames)]
    assert reader.images_of(backwards) == singly[::-1]
    monkeypatch.setattr(read_ahead, "MAX_GAP_BYTES", 100)
    assert reader.images_of(clips[0].frames) == singly[: len(clips[0].frames)], "a tar header lies between two frames"
