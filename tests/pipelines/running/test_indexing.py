"""Where a site asks for indexes, a run makes them of what it has committed; what goes wrong there fails no run."""

import pytest

from cluster.site import load_site
from pipelines.indexes.look_up import open_index
from pipelines.indexes.subjects import NAMES, TEXTS
from pipelines.lineage.graph import all_heads
from pipelines.running import indexing
from pipelines.running.indexing import index_committed
from pipelines.runs.run import all_runs
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.pipeline_world import url_of


def made(site: NeoSite) -> set[str]:
    (pairs,) = (head for head in all_heads(site.store) if head.kind == "RawPairs")
    return {name for name in (NAMES, TEXTS) if open_index(site.store, pairs, name) is not None}


@pytest.mark.parametrize(("asked", "there"), [("none", set()), ("samples", {NAMES}), ("texts", {NAMES, TEXTS})])
def test_a_run_makes_the_indexes_that_its_site_asks_for(site: NeoSite, asked: str, there: set[str]) -> None:
    site.file.write_text(site.file.read_text() + f'indexes = "{asked}"\n')
    told = site.neo("run", f"{TOYS}:data")
    assert told.code == 0 and made(site) == there
    assert ("pairs: makes the indexes of fetch_toys/" in told.out) is bool(there)
    assert bool(site.neo("where", url_of(5), "--json").json["unindexed"]) is not bool(there)


def test_what_goes_wrong_is_told_and_the_run_is_done(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.file.write_text(site.file.read_text() + 'indexes = "samples"\n')
    monkeypatch.setenv("NEO_FAULT", "index.uploaded:before=raise")
    told = site.neo("run", f"{TOYS}:data")
    assert told.code == 0 and "Indexes were not made: " in told.out and "`neo index` tries again" in told.out
    monkeypatch.delenv("NEO_FAULT")
    assert made(site) == set()
    assert site.neo("index").code == 0 and made(site) == {NAMES}


def test_steps_of_an_earlier_attempt_are_indexed_and_those_of_other_runs_are_not(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")  # commits all, as an attempt does that then dies
    site.file.write_text(site.file.read_text() + 'indexes = "samples"\n')
    again = site.neo("run", f"{TOYS}:data", "--set", "mix.num_repetitions=2")
    assert again.code == 0 and made(site) == set() and "makes the indexes" not in again.out
    for run in all_runs(site.store):
        index_committed(run, load_site(str(site.file)), lambda _: None)
    assert made(site) == {NAMES}


def test_any_error_is_told(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KeyError("unheard of")

    site.file.write_text(site.file.read_text() + 'indexes = "samples"\n')
    monkeypatch.setattr(indexing, "make_indexes", refuse)
    told = site.neo("run", f"{TOYS}:data")
    assert told.code == 0 and "Indexes were not made: " in told.out and "unheard of" in told.out
