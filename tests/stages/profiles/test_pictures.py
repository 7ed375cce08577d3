"""What stages did is drawn beside their artifacts, the same each time, and never in their way."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.artifacts.profiles import profile_files, profile_pictures
from stages.contract import InterruptedRunError, Part, PartDraft, Source, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.profiles import pictures
from stages.profiles.profile import Profile
from stages.store.store import Store

SOURCES = {
    "toy_urls": "toy:urls.jsonl?seed=7&num_train_images=200&num_heldout_images=4&num_documents=20"
    "&num_text_conversations=10"
}
DRAWN = ["charts.png", "funnel.png", "sheet_dropped.png", "sheet_kept.png"]


def step(**changes: Any) -> Step[KeptPairs]:
    raw = download_pairs.bind("pairs", DownloadPairsRecipe(source=Source("toy_urls"), num_urls_per_part=50))
    return filter_pairs.bind("kept", FilterPairsRecipe(**changes), raw)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> KeptPairs:
    return make(step(), Store(tmp_path_factory.mktemp("store")), sources=SOURCES)


def again(made: KeptPairs, folder: Path) -> Store:
    """A copy of the store in which the download is committed and the filter has not begun."""
    shutil.copytree(made.store.folder or "", folder)
    shutil.rmtree(folder / made.folder)
    return Store(folder)


def drawn(artifact: Artifact) -> dict[str, bytes]:
    return {entry.name: artifact.read(entry) for entry in profile_files(artifact)}


def test_each_stage_draws_what_it_did(made: KeptPairs) -> None:
    raw = made.input("raw", RawPairs)
    assert [entry.name for entry in profile_pictures(made)] == DRAWN
    assert [entry.name for entry in profile_pictures(raw)] == sorted([*DRAWN, "sheet_failed.png"])
    for artifact in (made, raw):
        for name, data in drawn(artifact).items():
            assert name.endswith(".json") or Image.open(io.BytesIO(data)).size[0] == 1320


def test_the_numbers_are_those_of_the_artifact(made: KeptPairs) -> None:
    profile = Profile.parse(drawn(made)["profile.json"])
    assert profile.num_parts == len(made.parts)
    for role, number in (("kept", made.head.items.kept), ("dropped", made.head.items.num_dropped)):
        assert profile.bins["short_side_px"][role].total() == number
    assert set(profile.examples) == {"", *made.head.items.dropped}
    assert all(one.image is not None for examples in profile.examples.values() for one in examples)


def test_they_are_no_part_of_the_artifact(made: KeptPairs, tmp_path: Path) -> None:
    assert {record.phase for record in made.manifest.parts} == {"judge"}
    assert [entry.name for entry in made.parts[0].files] == ["verdicts.parquet"]
    store = again(made, tmp_path / "store")
    twin = make(step(), store, sources=SOURCES)
    assert twin.head.content == made.head.content
    assert drawn(twin) == drawn(made), "the same bytes each time"


@pytest.mark.parametrize("fails", ["funnel_picture", "chart_picture", "sheet_picture", "profile_of"])
def test_a_drawing_that_fails_costs_nothing_else(
    fails: str, made: KeptPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr(pictures, fails, fail)
    twin = make(step(), again(made, tmp_path / "store"), sources=SOURCES)
    assert twin.head.content == made.head.content
    lost = {"funnel_picture": {"funnel.png"}, "chart_picture": {"charts.png"}}
    sheets = {"sheet_dropped.png", "sheet_kept.png"}
    expected = set(DRAWN) - lost.get(fails, sheets if fails == "sheet_picture" else sheets | {"charts.png"})
    assert {entry.name for entry in profile_pictures(twin)} == expected


@pytest.mark.parametrize("raised", [RuntimeError, MemoryError, InterruptedRunError])
def test_only_the_end_of_the_attempt_goes_through(
    raised: type[Exception], made: KeptPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: pictures.DrawingTask, part: Part, draft: PartDraft) -> None:
        raise raised("in the middle of it")

    monkeypatch.setattr(pictures.DrawingTask, "draw_part", die)
    store = again(made, tmp_path / "store")
    if raised is InterruptedRunError:
        with pytest.raises(InterruptedRunError):
            make(step(), store, sources=SOURCES)
        monkeypatch.undo()
    twin = make(step(), store, sources=SOURCES)
    assert twin.head.content == made.head.content
    assert [entry.name for entry in profile_pictures(twin)] == (DRAWN if raised is InterruptedRunError else [])


def test_damaged_and_missing_profiles_are_told(made: KeptPairs, tmp_path: Path) -> None:
    """As in an artifact whose first parts an earlier release made."""
    folder = tmp_path / "store"
    shutil.copytree(made.store.folder or "", folder)
    profiles = sorted((folder / made.folder / "profiles/judge").glob("*.json"))
    profiles[0].unlink()
    profiles[1].write_bytes(profiles[1].read_bytes()[:100])
    for gone in ("manifest.json", "head.json"):
        (folder / made.folder / gone).unlink()
    for gone in ("records/profile", "phases/profile"):
        shutil.rmtree(folder / made.folder / gone)
    twin = make(step(), Store(folder), sources=SOURCES)
    assert Profile.parse(drawn(twin)["profile.json"]).num_parts == len(made.parts) - 2
    assert twin.head.content == made.head.content


def test_a_picture_that_is_gone_is_said_on_the_sheet(made: KeptPairs, tmp_path: Path) -> None:
    store = again(made, tmp_path / "store")
    raw = made.input("raw", RawPairs)
    (Path(store.url) / raw.parts[0].file("pairs.tar").key).write_bytes(b"")
    twin = make(step(), store, sources=SOURCES)
    assert [entry.name for entry in profile_pictures(twin)] == DRAWN
    assert drawn(twin)["sheet_kept.png"] != drawn(made)["sheet_kept.png"]


def test_a_step_that_loses_too_much_has_drawn_why(made: KeptPairs, tmp_path: Path) -> None:
    store = again(made, tmp_path / "store")
    with pytest.raises(Exception, match="caption_too_short"):
        make(step(min_caption_chars=3000), store, sources=SOURCES)
    (record,) = Path(store.url).glob("artifacts/filter_pairs/*/records/profile/pictures.json")
    assert {entry["name"] for entry in json.loads(record.read_text())["files"]} >= {"funnel.png", "sheet_dropped.png"}
