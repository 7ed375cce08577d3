"""Clips: whole tars are linked, what verdicts kept of one is written member by member, frames or packets."""

from pathlib import Path

import pytest

from cluster.local import make
from pipelines.outside.views.layouts import LAYOUTS
from pipelines.outside.views.views import plan_view
from stages.formats.clip_reader import ClipReader
from stages.store.store import Store
from tests.pipelines.outside.views.test_pair_shards import read
from tests.worlds.clip_mixture import CLIPS, KEPT_CLIPS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_clips_are_linked_whole_and_kept_ones_are_written_with_their_own_frames(store: Store, tmp_path: Path) -> None:
    raw, kept = make(CLIPS, store), make(KEPT_CLIPS, store)
    samples, ended = read(raw, tmp_path / "raw")
    assert ended == {"linked": 2} and len(samples) == raw.head.items.kept
    samples, ended = read(kept, tmp_path / "kept")
    assert ended == {"written": 2} and len(samples) == kept.head.items.kept
    reader = ClipReader(kept)
    for clip, one in zip(reader, samples, strict=True):
        frames = reader.frames.images_of(clip.frames)
        assert [one[f"{number:05d}.jpg"] for number in range(len(frames))] == frames
        assert one["txt"].decode() == clip.caption and f"{len(frames):05d}.jpg" not in one


def test_the_columns_for_datasets_are_those_of_the_longest_clip(store: Store) -> None:
    kept = make(KEPT_CLIPS, store)
    names = [one["name"] for one in plan_view(kept, LAYOUTS["hf"], None).source.features]
    most = max(len(clip.frames) for clip in ClipReader(kept))
    assert sum(name.endswith(".jpg") for name in names) == most and "txt" in names
