"""What is deleted in which order: stopped at any point, nothing looks whole, and the next collection ends it."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import stages.store.fault_points as points
from pipelines.garbage.deletion import LEADS_TO_IT_NOW, Deletion
from pipelines.garbage.forgotten import forgotten_runs
from pipelines.garbage.reachability import Reachability
from pipelines.garbage.survey import MADE_INTO_WHAT_STAYS, ONLY_FORGOTTEN, survey
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claimant
from stages.commit.heartbeat import Observer
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.pipelines.garbage.stores import (
    DATA,
    OTHER,
    artifacts,
    check_nothing_looks_whole,
    grow_old,
    listed,
    made_by,
    two_runs,
)
from tests.pipelines.garbage.test_reachability import commit, name
from tests.pipelines.garbage.test_reachability import point as set_name

NO_GRACE = timedelta(0)
GC_POINTS = tuple(sorted(point for point in points.POINTS if point.startswith("gc.")))


def collect(store: Store, *forgotten: str) -> dict[str, str]:
    """Collect without grace; what was spared, and why."""
    reached = Reachability(store, forgotten=forgotten)
    found = survey(store, reached, NO_GRACE, datetime.now(UTC))
    return Deletion(store, reached, NO_GRACE, lambda _: None).carry_out(found).spared


def test_a_collection_stopped_at_any_point_is_ended_by_the_next(
    site: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = two_runs(site)
    kept = made_by(site.store, new)
    stopped = 0
    for place in places():
        store = Store(shutil.copytree(site.folder / "store", tmp_path / f"copy-{stopped}"))
        points._passed.clear()
        monkeypatch.setenv(points.FAULT, f"{place}=raise")
        try:
            collect(store, old)
        except OSError:
            stopped += 1
            check_nothing_looks_whole(store)
        monkeypatch.delenv(points.FAULT)
        collect(store)
        if old not in forgotten_runs(store):  # stopped before it was forgotten: nothing was deleted
            collect(store, old)
        left = {key for short in artifacts(store) - kept for key in store.keys(f"artifacts/{short}/")}
        assert artifacts(store) == kept, (place, left)
        check_nothing_looks_whole(store)
    assert stopped > len(GC_POINTS)


def places() -> Iterator[str]:
    """Points that a collection passes, the first time and later ones."""
    for point in GC_POINTS:
        if point != "gc.put_back":
            yield from (f"{point}:{edge}@1" for edge in ("before", "after"))
    yield from (f"gc.deleted:after@{occurrence}" for occurrence in (3, 9, 14, 33))


def test_what_a_run_needs_by_now_is_as_it_was(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old run is typed again between the survey and the deletion, and between quarantine and deletion."""
    old, _ = two_runs(site)
    store, before = site.store, artifacts(site.store)
    attempt = store.read(f"runs/{old}/attempts/1.json")
    assert attempt is not None
    reached = Reachability(store, forgotten=[old])
    found = survey(store, reached, NO_GRACE, datetime.now(UTC))
    deletion = Deletion(store, reached, NO_GRACE, lambda _: None)
    refresh, asked = Reachability.refresh, []

    def late(self: Reachability) -> None:
        asked.append(1)
        if len(asked) == 2:
            (first, *_) = reached.children_first(one.artifact for one in found.deletable)
            assert first[0] == "pack_toys" and not store.size_bytes(f"artifacts/{'/'.join(first)}/manifest.json")
            store.create(f"runs/{old}/attempts/2.json", attempt)
        refresh(self)

    monkeypatch.setattr(Reachability, "refresh", late)
    end = deletion.carry_out(found)
    assert set(end.spared) == {one.short for one in found.deletable}
    assert artifacts(store) == before and not [key for key in store.keys("artifacts/") if "collected" in key]
    again = site.neo("run", DATA, "--json")
    assert again.code == 0 and not [step for step in again.json["steps"] if step.get("action") == "make"]
    assert site.neo("audit", "data/rows", "--level", "full").code == 0


def test_an_artifact_that_an_attempt_makes_is_spared(site: NeoSite) -> None:
    old, new = two_runs(site)
    (mine, *_) = sorted(made_by(site.store, old) - made_by(site.store, new))
    claimant = Claimant(site.store, f"artifacts/{mine}", "mine", AttemptId("other", 1))
    reached = Reachability(site.store, forgotten=[old])
    found = survey(site.store, reached, NO_GRACE, datetime.now(UTC))
    with claimant.claim_of_ended():
        young = collect(site.store)
        spared = Deletion(site.store, reached, NO_GRACE, lambda _: None).carry_out(found).spared
    (read,) = (one for one in made_by(site.store, old) - made_by(site.store, new) if one.startswith("judge_toys/"))
    assert young == {} and mine.startswith("draw_toys/")
    assert spared == {mine: "attempt 1 of run other is at work on it", read: LEADS_TO_IT_NOW}
    assert made_by(site.store, new) | {mine, read} == artifacts(site.store), "what was made of it is deleted"
    assert collect(site.store) == {} and made_by(site.store, new) == artifacts(site.store)


def test_what_an_artifact_that_is_too_new_was_made_of_stays(site: NeoSite) -> None:
    old, new = two_runs(site)
    mine = sorted(made_by(site.store, old) - made_by(site.store, new))
    assert [one.partition("/")[0] for one in mine] == ["draw_toys", "judge_toys", "pack_toys"]
    for short in mine[:2]:
        grow_old(site.folder / "store/artifacts" / short)
    said = site.neo("gc", "--forget", old, "--delete", "--json").json
    assert said["deletions"] == [] and [one["artifact"] for one in said["stays"]] == mine
    assert [MADE_INTO_WHAT_STAYS in one["stays"] for one in said["stays"]] == [True, True, False]
    check_nothing_looks_whole(site.store)
    grow_old(site.folder / "store/artifacts" / mine[2])
    assert site.neo("gc", "--delete", "--json").json["spared"] == {}
    assert artifacts(site.store) == made_by(site.store, new)


def test_an_old_artifact_stays_while_one_that_is_too_new_took_parts_over_from_it(tmp_path: Path) -> None:
    store, grace = Store(tmp_path), timedelta(hours=24)
    for letter in "abcd":
        commit(store, letter, **({"taken_over": {f"make/{'a' * 12}": 3}} if letter in "bc" else {}))
        if letter != "b":
            grow_old(tmp_path / "artifacts/make" / (letter * 12))
    set_name(store, "d")  # uploads in it are looked for
    reached = Reachability(store)
    found = survey(store, reached, grace, datetime.now(UTC))
    assert {one.artifact: one.stays for one in found.candidates if one.artifact != name("b")} == {
        name("a"): MADE_INTO_WHAT_STAYS,
        name("c"): "",
    }
    Deletion(store, reached, grace, lambda _: None).carry_out(found)
    assert artifacts(store) == {"/".join(name(letter)) for letter in "abd"}


def test_an_attempt_stays_away_from_what_is_half_deleted(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_runs(site)
    points._passed.clear()
    monkeypatch.setenv(points.FAULT, "gc.deleted:before@1=raise")
    with pytest.raises(OSError, match="asked for by"):
        collect(site.store, old)
    monkeypatch.delenv(points.FAULT)
    refused = site.neo("run", DATA)
    assert refused.code == 1 and "`neo gc --delete`" in " ".join((refused.out + refused.err).split())
    collect(site.store)
    assert site.neo("run", DATA).code == 0
    assert made_by(site.store, old) | made_by(site.store, new) == artifacts(site.store)


def test_what_goes_is_listed_first(site: NeoSite) -> None:
    old, new = two_runs(site)
    gone = made_by(site.store, old) - made_by(site.store, new)
    for short in (*gone, *made_by(site.store, new)):
        site.store.create(f"indexes/{short}/0123-1/url.json", b"{}")
    collect(site.store, old)
    assert {key.rpartition("/0123")[0] for key in site.store.keys("indexes/")} == {
        f"indexes/{short}" for short in made_by(site.store, new)
    }
    told = listed(site.store)
    assert {one["artifact"] for one in told["deletions"]} == gone and told["runs"] == [old]
    assert all(one["why"] == ONLY_FORGOTTEN and one["size_bytes"] > 0 for one in told["deletions"])
    assert not list((site.folder / "store").rglob("collected.json"))
    said = site.neo("audit", "data/rows")
    assert f"deleted {len(gone)} artifacts" in said.out and said.code == 0


def test_uploads_that_no_record_names_go_and_all_else_stays(site: NeoSite) -> None:
    site.neo("run", DATA)
    folder = site.artifact_folder("rows")
    stray = folder / "attempts" / "dead-1" / "write" / "half.tar"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x" * 1000)
    collect(site.store)
    assert not stray.exists() and not stray.parent.exists()
    (listed_uploads,) = listed(site.store)["deletions"]
    assert (listed_uploads["num_objects"], listed_uploads["size_bytes"], listed_uploads["is_whole"]) == (1, 1000, False)
    (name,) = (key for key in site.store.keys("collected/0/") if key.endswith(".txt"))
    assert (site.store.read(name) or b"").decode().splitlines() == [str(stray.relative_to(site.folder / "store"))]
    assert site.neo("audit", "data/rows", "--level", "full").code == 0


def test_on_s3_the_same_goes(type_, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(f'store = "{bucket}/own"\nmlflow = "http://127.0.0.1:9"\n')
    site = NeoSite(tmp_path, type_)
    old = site.neo("run", DATA, "--json").json["run"]
    new = site.neo("run", DATA, *OTHER, "--json").json["run"]
    store = Store(f"{bucket}/own")
    gone, kept = made_by(store, old) - made_by(store, new), made_by(store, new)
    dry = site.neo("gc", "--forget", old, "--grace", "0", "--json").json
    assert {one["artifact"] for one in dry["deletions"]} == gone and artifacts(store) == gone | kept
    done = site.neo("gc", "--delete", "--forget", old, "--grace", "0", "--json").json
    assert done["deleted"] and done["num_objects"] == dry["num_objects"]
    assert artifacts(store) == kept
    assert site.neo("audit", "data/rows", "--level", "full").code == 0


def test_a_held_claim_of_a_dead_process_is_taken_over(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims of attempts that ended on this machine have lapsed, which is known without watching a heartbeat."""
    old, new = two_runs(site)
    (mine, *_) = sorted(made_by(site.store, old) - made_by(site.store, new))
    monkeypatch.setattr(Observer, "look", lambda *_: pytest.fail("it is known without a look"))
    assert collect(site.store, old) == {}
    assert mine not in artifacts(site.store)
