"""`neo index`: of one artifact or the whole store, once, again, afresh, stopped; on a site without tables."""

import re
from pathlib import Path

import pytest

from tests.pipelines.conftest import TOYS, NeoSite


def test_indexes_are_made_once_and_again_when_asked(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    site.neo("run", f"{TOYS}:data")
    told = site.neo("index", "data/rows")
    assert told.code == 0 and told.last_line == "Next: neo where --help"
    assert "names 12, ids 12, pictures 0, domains 3 of 3 parts" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    again = site.neo("index", "--json").json
    (artifact,) = again["artifacts"]
    assert artifact["step"] == "pairs" and artifact["num_parts"] == 3
    assert {one["subject"]: one["num_entries"] for one in artifact["indexes"]} == {
        "names": 12, "ids": 12, "pictures": 0, "domains": 3,
    }  # fmt: skip
    assert "groups of parts read" not in site.neo("index").out
    assert "1 of 1 groups of parts read" in site.neo("index", "--afresh").out


def test_indexes_change_no_plan_and_no_audit(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    before = site.neo("plan", f"{TOYS}:data", "--json").json["steps"]
    site.neo("index")
    assert site.neo("plan", f"{TOYS}:data", "--json").json["steps"] == before
    assert site.neo("audit", "data/rows").code == 0


def test_a_stop_says_how_to_continue(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.neo("run", f"{TOYS}:data")
    monkeypatch.setattr("pipelines.commands.index.make_indexes", _interrupted)
    told = site.neo("index", "data")
    assert told.code == 75 and told.last_line.startswith("Next: neo index data --site ")


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_has_no_tables_and_what_is_not_there_is_refused(site: NeoSite) -> None:
    assert site.neo("index").code != 0
    site.neo("run", f"{TOYS}:data")
    assert "no artifact" in site.neo("index", "nothing").err or site.neo("index", "nothing").code == 2
    (Path(site.store.url) / "artifacts" / "fetch_toys").rename(site.folder / "gone")
    told = site.neo("index")
    assert told.code == 2 and re.search("nothing of this is indexed", told.err)
