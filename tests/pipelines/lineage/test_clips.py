"""A video and its clips followed forward: by URL, by reference, by sample id."""

from pathlib import Path

import pytest

from cluster.local import make
from pipelines.commands.sighting_words import describe
from pipelines.lineage.audit import audit
from pipelines.lineage.forward import find_samples, trace_sample, trace_url
from pipelines.lineage.graph import all_heads, lineage_of
from pipelines.lineage.sightings import Sighting
from stages.artifacts.kinds import CLIPS_FILE, RawClips
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.store.store import Store
from tests.worlds.clip_world import LOST, ClipsRecipe, clip_id, make_clips, url_of

CLIPS = make_clips.bind("clips", ClipsRecipe())
KEPT = filter_clips.bind("kept", FilterClipsRecipe(), CLIPS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    make(KEPT, store)
    return store


def by_stage(sightings: list[Sighting]) -> dict[str, Sighting]:
    return {sighting.stage: sighting for sighting in sightings}


@pytest.mark.parametrize("name", [url_of("walk"), "walk.mp4"])
def test_a_video_is_followed_in_all_its_clips_by_url_and_by_reference(store: Store, name: str) -> None:
    seen = by_stage(trace_url(store, name, all_heads(store)))
    assert list(seen) == ["make_clips", "filter_clips"]
    assert seen["make_clips"].carryover.sample_ids == {clip_id("walk", 0), clip_id("walk", 1)}
    told = describe(seen["make_clips"])
    assert "part 00000: kept, 0.00 to 2.00 s of http://films.invalid/walk.mp4, 4 frames, 128 x 96 px; " in told
    assert "2.00 to 4.00 s" in told
    assert describe(seen["filter_clips"]) == "part 00000: kept; part 00000: kept"


def test_a_clip_is_followed_by_its_id_and_its_row_leaves_out_where_each_frame_lies(store: Store) -> None:
    sample_id = clip_id("copy", 1)
    assert find_samples(store, sample_id.hex()[:10], all_heads(store)) == {sample_id}
    seen = by_stage(trace_sample(store, sample_id, all_heads(store)))
    (row,) = seen["make_clips"].details()["samples"]
    assert row["reference"] == "copy.mp4" and len(row["frame_times"]) == 4
    assert not {"frame_sha256", "frame_offsets", "frame_sizes_bytes", "frame_pts"} & row.keys()
    assert describe(seen["filter_clips"]) == f"part 00001: dropped (near_duplicate of {clip_id('walk', 1).hex()})"
    assert not seen["filter_clips"].carryover


def test_a_video_without_clips_is_told_with_its_reason_and_goes_nowhere(store: Store) -> None:
    (sighting,) = trace_url(store, url_of(LOST), all_heads(store))
    assert describe(sighting) == "part 00002: failed (video_unreadable)"


def test_what_no_table_has_is_found_nowhere(store: Store) -> None:
    assert trace_url(store, "other.mp4", all_heads(store)) == []


def test_an_audit_reads_clips_and_verdicts_and_finds_damaged_frames(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = make(KEPT, store)
    lineage = lineage_of(store, kept.manifest.stage, kept.fingerprint)
    report = audit(store, lineage, lambda *_: None)
    assert report.findings == () and report.num_artifacts == 2
    raw = make(CLIPS, store)
    assert isinstance(raw, RawClips)
    path = raw.store.folder / raw.part("00001").file(CLIPS_FILE).key
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    (finding,) = audit(store, lineage, lambda *_: None).findings
    assert finding.part == "cut/00001" and finding.remedy == "make_again" and finding.key.endswith(CLIPS_FILE)
