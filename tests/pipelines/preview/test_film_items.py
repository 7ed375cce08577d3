"""`neo look` at videos that lie as files, and at tables that name them: strips of frames with their times."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import NeoSite
from tests.worlds.clip_world import film_bytes, write_films


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    write_films(folder, ["walk", "jump", "short"])
    return folder


def items_of(site: NeoSite, what: Path, *options: str) -> list[dict[str, Any]]:
    document = site.neo("look", str(what), *options, "--json").json
    assert document["exit_code"] == 0
    return document["items"]


def test_a_folder_of_videos_is_shown_with_facts_and_strips(site: NeoSite, films: Path, tmp_path: Path) -> None:
    items = items_of(site, films)
    assert [item["heading"] for item in items] == ["jump.mp4", "short.mp4", "walk.mp4"]
    walk = items[2]
    assert walk["fields"]["duration"] == "3.96 s"
    assert walk["fields"]["frames"].startswith("50, 12.63 a second; ") and walk["fields"]["size"] == "128 x 96 px"
    (strip,) = walk["strips"]
    assert strip.startswith("3.96 s, 8 of 50 frames: 00:00.40, 00:00.88, ")
    assert items[1]["strips"][0].count("00:") == 3, "a film of three frames shows no more"
    page = tmp_path / "page.html"
    assert site.neo("look", str(films), "--html", str(page)).code == 0
    assert page.read_text().count("<figure><img") == 8 + 3 + 8


def test_a_table_of_paths_shows_the_stretch_that_each_row_asks_for(site: NeoSite, films: Path) -> None:
    rows = [
        "video,caption,start,end",
        "films/walk.mp4,the second half,2.0,4.0",
        "films/gone.mp4,nothing,,",
        "../../etc/passwd.mp4,not ours,,",
        "films/jump.mp4,no time,soon,",
        "http://a.example/x.mp4,elsewhere,,",
    ]
    (films.parent / "list.csv").write_text("\n".join(rows) + "\n")
    items = items_of(site, films.parent / "list.csv", "--images", str(films.parent))
    assert [item["verdict"] for item in items] == ["", "", "", "failed: bad_times", ""]
    strips = [item["strips"][0] for item in items]
    assert strips[0].startswith("films/walk.mp4: 2.00 to 3.96 s of 3.96 s, 8 frames: 00:02.16, ")
    assert strips[1] == "films/gone.mp4: is not there"
    assert strips[2] == "../../etc/passwd.mp4: a path that leads out of the source"
    assert strips[4] == "http://a.example/x.mp4 (not asked for)"


def test_videos_in_a_table_are_looked_into(site: NeoSite, tmp_path: Path) -> None:
    videos = [{"bytes": film_bytes("walk"), "path": "a.mp4"}, {"bytes": b"no video", "path": "b.mp4"}]
    pq.write_table(pa.table({"video": videos, "caption": ["a walk", "broken"]}), tmp_path / "train.parquet")
    items = items_of(site, tmp_path / "train.parquet")
    assert items[0]["strips"][0].startswith("3.96 s, 8 of 50 frames")
    assert "unknown_format" in items[1]["strips"][0]


def test_conversations_show_their_videos_in_the_stretch_they_mean(site: NeoSite, films: Path) -> None:
    turns = [{"from": "human", "value": "<video>\nWhat moves?"}, {"from": "gpt", "value": "A square."}]
    rows = [
        {"video": "films/walk.mp4", "conversations": turns},
        {"video": "films/walk.mp4", "start": 1.0, "end": 2.0, "conversations": turns},
    ]
    (films.parent / "chat.json").write_text(json.dumps(rows))
    items = items_of(site, films.parent / "chat.json", "--images", str(films.parent))
    assert [len(item["strips"]) for item in items] == [1, 1]
    assert items[0]["strips"][0].startswith("films/walk.mp4: 3.96 s, 8 of 50 frames")
    assert items[1]["strips"][0].startswith("films/walk.mp4: 1.00 to 2.00 s of 3.96 s")


def test_a_playlist_is_never_followed(site: NeoSite, films: Path) -> None:
    (films / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    (item,) = [item for item in items_of(site, films) if item["heading"] == "list.mp4"]
    assert item["verdict"] == "failed: playlist" and item["strips"] == []
