"""`neo gc` shows first and deletes then; what is new, named or needed stays, and it says why."""

import json
import shutil
from pathlib import Path

from stages.commit.heartbeat import ProcessMark
from tests.pipelines.conftest import NeoSite
from tests.pipelines.garbage.stores import DATA, all_files, artifacts, made_by, two_runs

TWO_TARGETS = """
from tests.worlds.pipeline_world import LlmRecipe, toy_llm


def pair():
    return [toy_llm.bind("one", LlmRecipe()), toy_llm.bind("other", LlmRecipe(width=8))]
"""


def test_it_shows_and_deletes_what_a_forgotten_run_alone_kept(site: NeoSite) -> None:
    old, new = two_runs(site)
    before = all_files(site.folder / "store")
    gone = made_by(site.store, old) - made_by(site.store, new)
    nothing = site.neo("gc", "--grace", "0")
    assert nothing.code == 0 and "Nothing may be deleted" in nothing.out
    young = site.neo("gc", "--forget", old)
    assert "being too new (--grace)" in " ".join(young.out.split()) and all(one in young.out for one in gone)
    kept = site.neo("gc", "--forget", old, "--grace", "0", "--keep", sorted(gone)[0], "--json").json
    assert {one["artifact"] for one in kept["deletions"]} < gone
    dry = site.neo("gc", "--forget", old, "--grace", "0")
    assert max(len(line) for line in dry.out.splitlines() if not line.startswith("Next:")) <= 80
    assert f"neo gc --delete --forget {old} --grace 0" in dry.last_line
    assert all_files(site.folder / "store") == before, "a dry run writes nothing"

    done = site.neo("gc", "--delete", "--forget", old, "--grace", "0", "--json").json
    assert done["deleted"] and done["spared"] == {} and {one["artifact"] for one in done["deletions"]} == gone
    assert artifacts(site.store) == made_by(site.store, new)
    empty = [path for path in (site.folder / "store/artifacts").rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert not empty
    assert site.neo("audit", "data/rows", "--level", "full").code == 0
    again = site.neo("run", DATA, "--json")
    assert again.code == 0 and artifacts(site.store) == gone | made_by(site.store, new)


def test_a_run_that_is_at_work_or_is_none_is_refused(site: NeoSite) -> None:
    _, new = two_runs(site)
    assert site.neo("gc", "--forget", new, "--grace", "0", "--json").json["deletions"] == [], "its steps have names"
    assert site.neo("gc", "--forget", "nobody").code == 2
    begun = json.loads((site.store.read(f"runs/{new}/attempts/1.json") or b"").decode())
    site.store.create_json(f"runs/{new}/attempts/2.json", {**begun, **ProcessMark.here(), "number": 2})
    refused = site.neo("gc", "--forget", new)
    assert refused.code == 3 and "is at work" in refused.err


def test_it_refuses_beside_a_damaged_plan(site: NeoSite) -> None:
    old, _ = two_runs(site)
    (site.folder / "store" / "runs" / old / "plan.json").write_text("{")
    refused = site.neo("gc", "--grace", "0")
    assert refused.code == 3 and "nothing is deleted while a record is damaged" in " ".join(refused.err.split())


def test_a_run_whose_reused_artifact_was_deleted_meanwhile_does_not_begin(site: NeoSite, monkeypatch) -> None:
    import pipelines.running.execute_run as executing

    site.neo("run", DATA, "--until", "kept")
    rows, kept = executing.open_run, site.artifact_folder("kept") / "manifest.json"

    def deleted_meanwhile(store, request):
        run = rows(store, request)
        Path(kept).unlink()
        return run

    monkeypatch.setattr(executing, "open_run", deleted_meanwhile)
    refused = site.neo("run", DATA)
    assert refused.code == 3 and f"judge_toys/{kept.parent.name} was deleted while the run was planned" in refused.err


def test_a_used_artifact_is_refused_where_what_it_was_made_of_is_gone(site: NeoSite) -> None:
    site.neo("run", DATA)
    mix, kept = site.artifact_folder("mix").name, site.artifact_folder("kept")
    use = ("--use", f"mix={mix}", "--set", "rows.pairs_per_row=1")
    assert site.neo("run", DATA, *use).code == 0
    (site.artifact_folder("rows") / "manifest.json").unlink()  # it is made again
    (kept / "manifest.json").unlink()
    refused = site.neo("run", DATA, *use)
    assert refused.code == 3 and f"judge_toys/{kept.name}, of which it was made" in " ".join(refused.err.split())


def test_the_grace_has_bounds(site: NeoSite) -> None:
    assert site.neo("gc", "--grace", "nan").code == 2
    for hours in ("inf", "1e300", "1e9"):
        refused = site.neo("gc", "--grace", hours)
        assert refused.code == 2 and "give hours from 0 to 876,000" in " ".join(refused.err.split())
    two_runs(site)
    assert site.neo("gc", "--grace", "876000").code == 0


def test_it_names_the_run_that_is_forgotten_and_keeps_all_targets_of_one(site: NeoSite) -> None:
    (site.folder / "own.py").write_text(TWO_TARGETS)
    run = site.neo("run", f"{site.folder}/own.py:pair", "--json").json["run"]
    shown = site.neo("gc", "--forget", "pair", "--grace", "0")
    assert f"To forget: run {run}." in shown.out and f"--forget {run}" in shown.last_line
    shutil.rmtree(site.folder / "store/refs/pair")  # else these keep what they point at
    assert len(site.neo("gc", "--forget", run, "--grace", "0", "--json").json["deletions"]) == 2
    kept = site.neo("gc", "--forget", run, "--keep", run, "--grace", "0")
    assert f"Keeping all that run {run} makes." in kept.out and "Nothing may be deleted" in kept.out
