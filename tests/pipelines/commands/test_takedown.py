"""`neo takedown`: shown, then recorded; nothing of it is fetched, and what holds it is made again without."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE
from stages.artifacts.manifest import read_manifest
from stages.artifacts.records import PartRecord
from stages.formats.sample_table import read_table
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite, Said
from tests.worlds.flaky_web import FlakyWeb, flaky_web, picture
from tests.worlds.lossy_download import PIPELINE, lossy_download


@dataclass
class Downloaded:
    """A run that downloaded 40 rows in four parts."""

    site: NeoSite
    web: FlakyWeb
    pipeline: str
    folder: Path

    def records(self, step: str) -> dict[str, PartRecord]:
        """The records of an artifact of the newest run, by part, those of its last phase."""
        ref = self.site.neo("show", f"own/{step}", "--json").json
        manifest = read_manifest(self.site.store, ref["stage"], ref["fingerprint"])
        assert manifest is not None
        return {one.part: one for one in manifest.parts if one.phase == manifest.parts[-1].phase}

    def rows(self, step: str, part: str) -> list[dict[str, Any]]:
        """The sample table of a part."""
        data = self.site.store.read(self.records(step)[part].file(SAMPLES_FILE).key)
        assert data is not None
        return read_table(data).to_pylist()

    def listed(self, *lines: str, name: str = "list.txt") -> str:
        """A list of these lines."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return str(self.folder / name)

    def url(self, number: int) -> str:
        return f"{self.web.url}/{number:06d}.jpg"

    def take_down(self, *lines: str) -> Said:
        told = self.site.neo("takedown", self.listed(*lines), "--record", "--reason", "a request", "--json")
        assert told.code == 0, told
        return told


@pytest.fixture
def run(site: NeoSite, tmp_path: Path) -> Iterator[Downloaded]:
    with lossy_download(site, tmp_path) as (web, pipeline):
        yield Downloaded(site, web, pipeline, tmp_path)


def test_parts_that_hold_it_are_made_again_without_it_and_nothing_is_fetched(run: Downloaded) -> None:
    site, asked = run.site, run.web.asked.copy()
    before, old = run.records("pairs"), run.rows("pairs", "00001")
    shown = site.neo("takedown", run.listed(run.url(11), run.url(13), "https://nobody.example/a.jpg"), "--json").json
    (holder,) = shown["holders"]
    assert (holder["step"], holder["num_samples"], holder["num_kept"], holder["num_parts"]) == ("pairs", 2, 1, 1)
    assert not shown["recorded"] and "--record" in shown["next"]
    assert site.neo("takedown", "--json").json["takedowns"] == []

    told = run.take_down(run.url(11), run.url(13), "https://nobody.example/a.jpg")
    assert (told.json["number"], told.json["is_new"]) == (1, True)
    plan = site.neo("plan", run.pipeline, "--json").json
    assert [(one["name"], one["action"], one["num_taken"]) for one in plan["steps"]] == [
        ("pairs", "make", 4),
        ("kept", "make", 4),
    ]
    assert site.neo("run", run.pipeline).code == 0
    assert run.web.asked == asked, "nothing is fetched again"
    after = run.records("pairs")
    assert {name for name in after if after[name].files == before[name].files} == {"00000", "00002", "00003"}
    rows = run.rows("pairs", "00001")
    for number, (one, was) in enumerate(zip(rows, old, strict=True)):
        if number in (1, 3):
            said = {"sample_id": was["sample_id"], "verdict": "dropped", "reason": "taken_down", "retriable": False}
            assert one == dict.fromkeys(was) | said
        else:
            unmoved = ("image_offset",)
            assert {k: v for k, v in one.items() if k not in unmoved} == {
                k: v for k, v in was.items() if k not in unmoved
            }
    tar = site.store.read(after["00001"].file(PAIRS_FILE).key)
    assert tar is not None and run.url(11).encode() not in tar and run.url(13).encode() not in tar
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert len([name for name in opened.getnames() if name.endswith(".jpg")]) == sum(
            one["verdict"] == "kept" for one in rows
        )
        for one in rows:
            if one["verdict"] == "kept":
                assert tar[one["image_offset"] :][: one["image_size_bytes"]].startswith(b"\xff\xd8")
    assert "taken_down" in json.dumps(site.neo("show", "own/pairs", "--json").json["items"]["dropped"])
    assert site.neo("plan", run.pipeline, "--json").json["steps"][0]["action"] == "reuse"


def test_a_damaged_table_of_the_right_size_is_said_in_words(run: Downloaded) -> None:
    key = run.records("pairs")["00001"].file(SAMPLES_FILE).key
    path = run.site.store.folder / key
    path.write_bytes(bytes(path.stat().st_size))
    said = run.site.neo("takedown", run.listed(run.url(11)))
    assert said.code != 0 and key in said.err.replace("\n", "") and "cannot be read" in " ".join(said.err.split())


def shared_table(web: FlakyWeb, path: Path) -> Path:
    """Twenty rows of which four pictures have two captions each, in one part."""
    numbers = [*range(16), 0, 1, 2, 4]
    columns = {
        "url": [f"{web.url}/{number:06d}.jpg" for number in numbers],
        "caption": [f"caption {place} of {number}" for place, number in enumerate(numbers)],
        "tags": [["one", str(number)] for number in numbers],
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_what_is_made_again_is_what_a_download_would_have_made_that_never_asked(site: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text('[urls]\nuri = "urls.parquet"\n')
    (tmp_path / "pipeline.py").write_text(PIPELINE.replace("num_urls_per_part=10", "num_urls_per_part=8"))
    pipeline = f"{tmp_path / 'pipeline.py'}:own"
    with flaky_web({}) as web:
        shared_table(web, tmp_path / "urls.parquet")
        url, hidden = f"{web.url}/000005.jpg", f"{web.url}/000016.jpg"
        wanted = [
            ("url", url),
            ("url", hidden),
            ("caption", "caption 0 of 0"),  # the first of two rows with one picture
            ("picture", hashlib.sha256(picture(7)).hexdigest()),
            ("picture", hashlib.sha256(picture(2)).hexdigest()),
        ]
        listed = tmp_path / "list.csv"
        listed.write_text("kind,value\n" + "".join(f"{kind},{value}\n" for kind, value in wanted))
        made, asked = [], []
        for name in ("rewritten", "fetched"):
            site.file.write_text(f'store = "{tmp_path / name}"\nmlflow = "http://127.0.0.1:9"\n')
            if name == "rewritten":
                assert site.neo("run", pipeline).code == 0
            web.asked.clear()
            assert site.neo("takedown", str(listed), "--record", "--json").code == 0
            assert site.neo("run", pipeline).code == 0
            asked.append(sum(web.asked.values()))
            shown = site.neo("show", "own/pairs", "--json").json
            manifest = read_manifest(Store(tmp_path / name), shown["stage"], shown["fingerprint"])
            assert manifest is not None
            made.append(
                (manifest.fingerprint, manifest.items, [one for one in manifest.parts if one.phase == "download"])
            )
            assert site.neo("audit", "own/kept", "--here", "--json").json["findings"] == []
        assert asked[0] == 0 and asked[1] > 0 and 5 not in web.asked, web.asked
    assert made[0][:2] == made[1][:2] and made[0][1].dropped == {"taken_down": 5}
    for rewritten, fetched in zip(made[0][2], made[1][2], strict=True):
        digests = [{one.name: one.sha256 for one in record.files} for record in (rewritten, fetched)]
        assert digests[0] == digests[1] and rewritten.items == fetched.items


def test_rows_that_were_fetched_again_are_forgotten_in_both_places(run: Downloaded) -> None:
    site = run.site
    assert site.neo("retry", "own/pairs").code == 0
    asked = run.web.asked.copy()
    again = site.neo("plan", run.pipeline, "--retry-rows", "pairs=transient", "--json").json
    assert {one["action"] for one in again["steps"]} == {"reuse"}
    sha = hashlib.sha256(picture(23)).hexdigest()
    run.take_down(run.url(13), sha, run.url(2))
    told = site.neo("run", run.pipeline, "--retry-rows", "pairs=transient")
    assert told.code == 0, told
    assert run.web.asked == asked
    retried = run.rows("pairs_retry1", "retry1_00000")
    assert [(one["url"], one["verdict"]) for one in retried] == [
        (run.url(3), "kept"),
        (None, "dropped"),
        (run.url(33), "kept"),
    ]
    items = site.neo("show", "own/pairs_retry1", "--json").json["items"]
    assert items == {"entered": 40, "kept": 33, "dropped": {"taken_down": 3}, "failed": {"not_found": 4}}
    assert site.neo("show", "own/kept", "--json").json["items"]["kept"] == 33
    for number in (13, 2):
        assert site.neo("where", run.url(number), "--behind", "own/kept").code == 2
    (seen,) = site.neo("where", run.url(23), "--behind", "own/kept", "--json").json["sightings"]
    assert seen["said"] == "part 00002: failed (server_error)"  # of which nobody knew that it was that picture
    assert site.neo("audit", "own/kept", "--here", "--json").json["findings"] == []


def test_a_takedown_of_nothing_here_is_recorded_and_changes_no_name(run: Downloaded) -> None:
    site = run.site
    shown = site.neo("takedown", run.listed("http://elsewhere.example/1.jpg", "f" * 64, "0" * 32))
    assert "Nothing in the store has any of it. On record, no picture of it is fetched." in shown.out
    run.take_down("http://elsewhere.example/1.jpg", "f" * 64, "0" * 32)
    plan = site.neo("plan", run.pipeline, "--json").json
    assert {one["action"] for one in plan["steps"]} == {"reuse"}
    again = site.neo("takedown", str(run.folder / "list.txt"), "--record", "--json").json
    assert (again["number"], again["is_new"]) == (1, False)
    (known,) = site.neo("takedown", "--json").json["takedowns"]
    assert known["reason"] == "a request" and known["num_entries"] == {"url": 2, "picture": 1, "sample": 1}


def test_what_is_unfinished_is_named_and_nothing_is_not_said(run: Downloaded) -> None:
    left = run.site.store.folder / "artifacts" / "download_pairs" / "0123456789ab" / "part.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    told = run.site.neo("takedown", run.listed("http://elsewhere.example.org/1.jpg"))
    assert "Nothing that was searched has any of it." in told.out
    assert "Not searched, since unfinished: download_pairs/0123456789ab." in told.out
    (one,) = run.site.neo("takedown", str(run.folder / "list.txt"), "--json").json["unsearched"]
    assert one["artifact"] == "download_pairs/0123456789ab"


def test_a_whole_source_is_taken_only_when_it_is_said_twice(run: Downloaded) -> None:
    listed = run.folder / "list.csv"
    listed.write_text("kind,value\n" + "".join(f"url,{run.url(number)}\n" for number in range(40)))
    told = run.site.neo("takedown", str(listed), "--record")
    assert told.code == 3 and "takes down all that pairs (download_pairs/" in told.err
    assert run.site.neo("takedown", "--json").json["takedowns"] == []
    assert "list.csv --record --yes " in run.site.neo("takedown", str(listed)).last_line
    assert run.site.neo("takedown", str(listed), "--record", "--yes").code == 0
    told = run.site.neo("run", run.pipeline)
    assert told.code == 1 and "kept is taken down; take its source out of the pipeline" in told.out + told.err, told


@pytest.mark.parametrize("edge", ["before", "after"])
@pytest.mark.parametrize("point", ["list_kept", "found", "recorded"])
def test_broken_off_anywhere_the_same_command_completes_it(
    run: Downloaded, monkeypatch: pytest.MonkeyPatch, point: str, edge: str
) -> None:
    listed = run.listed(run.url(1))
    monkeypatch.setenv("NEO_FAULT", f"takedown.{point}:{edge}=raise")
    assert run.site.neo("takedown", listed, "--record").code == 3
    monkeypatch.delenv("NEO_FAULT")
    counts = (point, edge) == ("recorded", "after")
    told = run.site.neo("takedown", listed, "--record", "--json").json
    assert (told["number"], told["is_new"]) == (1, not counts)
    assert len(run.site.neo("takedown", "--json").json["takedowns"]) == 1
    assert run.site.neo("run", run.pipeline).code == 0
    assert run.rows("pairs", "00000")[1]["reason"] == "taken_down"
