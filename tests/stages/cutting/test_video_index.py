"""A name finds its video among many, by reading little."""

import pickle
from pathlib import Path

import pytest

from cluster.local import make
from stages.artifacts.kinds import RawClips
from stages.contract import Part, PartDraft, Recipe, Source, StageContext, StageError, stage
from stages.cutting import video_index
from stages.cutting.reasons import ClipReason
from stages.cutting.video_files import VideoPlace
from stages.cutting.video_index import index_videos, parts_of_videos
from stages.importing.reasons import ImportReason
from tests.stages.cutting.test_film_names import source
from tests.worlds.cut_world import tar_bytes

FOUND: dict[str, object] = {}


class LookRecipe(Recipe):
    source: Source
    """The videos."""
    names: tuple[str, ...]
    """The names that are looked up."""


def _nothing(part: Part, draft: PartDraft) -> None:
    """An artifact needs a part."""


@stage(number=1, recipe=LookRecipe, makes=RawClips)
def look_up(recipe: LookRecipe, *, ctx: StageContext) -> None:
    index = pickle.loads(pickle.dumps(index_videos(ctx, ctx.pinned(recipe.source), "/data/")))  # noqa: S301
    FOUND.clear()
    FOUND.update({name: index.find(name) for name in recipe.names})
    ctx.spread(_nothing, over=[Part(name="0")], phase="look")


def found(tmp_path: Path, folder: Path, *names: str) -> dict[str, object]:
    recipe = LookRecipe(source=Source("films"), names=names)
    make(look_up.bind("look", recipe), tmp_path / "store", sources={"films": str(folder)})
    return dict(FOUND)


def test_names_lead_to_files_and_members(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    (folder / "a").mkdir(parents=True)
    (folder / "a/x.mp4").write_bytes(b"film x")
    (folder / "t.tar").write_bytes(tar_bytes({"./in/y.mp4": b"film y", "in/y.txt": b"text"}))
    ends = found(tmp_path, folder, "a/x.mp4", "/data/a//x.mp4", "in/y.mp4", "t/in/y.mp4", "in/y.txt", "../x", "")
    place = ends["a/x.mp4"]
    assert isinstance(place, VideoPlace)
    assert (place.path, place.size_bytes, place.offset) == ("a/x.mp4", 6, None)
    assert ends["/data/a//x.mp4"] == place
    member = ends["in/y.mp4"]
    assert isinstance(member, VideoPlace)
    assert (folder / "t.tar").read_bytes()[member.offset or 0 :][: member.size_bytes] == b"film y"
    assert ends["t/in/y.mp4"] == member
    assert ends["in/y.txt"] is ClipReason.VIDEO_MISSING
    assert ends["../x"] is ImportReason.PATH_OUTSIDE
    assert ends[""] is ClipReason.VIDEO_MISSING


def test_many_names_in_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_index, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(video_index, "FILES_PER_PART", 150)
    folder = tmp_path / "films"
    folder.mkdir()
    names = [f"{number:04d}.mp4" for number in range(600)]
    for name in names:
        (folder / name).write_bytes(b"x")
    ends = found(tmp_path, folder, *names, "0600.mp4")
    assert all(isinstance(ends[name], VideoPlace) and ends[name].path == name for name in names)  # type: ignore[attr-defined]
    assert ends["0600.mp4"] is ClipReason.VIDEO_MISSING


def test_a_source_without_videos_or_with_a_compressed_tar_is_refused() -> None:
    with pytest.raises(StageError, match="no video or tar"):
        parts_of_videos(source("a.txt"))
    with pytest.raises(StageError, match="unpack"):
        parts_of_videos(source("a.tgz"))
