"""A store that an earlier version filled is still read: nothing is made again, and its history can be asked for.

`tests/old_store/` holds the records of a finished run of `tiny` (manifests, records, runs, refs; not the tars and
weights that they name), made by commit 892de35.
"""

import tarfile

import pytest

from pipelines.runs.outbox import Outbox
from pipelines.runs.run import all_runs
from tests.pipelines.conftest import ROOT, NeoSite

RECORDS = ROOT / "tests" / "old_store" / "tiny-892de35.tar.xz"


@pytest.fixture
def old_site(site: NeoSite) -> NeoSite:
    with tarfile.open(RECORDS) as tar:
        tar.extractall(site.folder, filter="data")
    (site.folder / "neo-store").rename(site.folder / "store")
    return site


def test_nothing_of_a_finished_run_is_made_again(old_site: NeoSite) -> None:
    (run,) = all_runs(old_site.store)
    said = old_site.neo("resume", run.name)
    assert said.code == 0, said.err
    assert "Nothing to make: all 21 steps of tiny are committed." in said.out


def test_the_plan_of_today_says_which_stages_have_another_number_since(old_site: NeoSite) -> None:
    """The stages that read the toy world read it as a source now. What reads no such stage is reused."""
    steps = {step["name"]: step for step in old_site.neo("plan", "tiny", "--json").json["steps"]}
    assert (steps["base_llm"]["action"], steps["base_llm"]["reason"]) == ("reuse", "committed")
    assert steps["pairs"]["reason"].startswith("stage download_pairs changed: number 1 -> ")
    assert steps["export"]["reason"] == "stage export changed: number 2 -> 8"


def test_its_names_lead_to_what_they_led_to(old_site: NeoSite) -> None:
    shown = old_site.neo("show", "tiny/evaluate", "--json")
    assert shown.code == 0, shown.err
    assert "4505d2e090a5" in shown.out
    traced = old_site.neo("trace", "tiny/evaluate")
    assert traced.code == 0, traced.err
    assert "f2bb47d074c9" in traced.out


def test_it_is_audited_as_far_as_it_can_be(old_site: NeoSite) -> None:
    """The store has records alone; what its version kept no digests of is said."""
    records = old_site.neo("audit", "tiny/evaluate", "--level", "quick")
    assert records.code == 0, records.out
    assert "and 17 more cannot be found: committed before manifests kept digests of them." in records.out
    sizes = old_site.neo("audit", "tiny/evaluate", "--level", "size")
    assert sizes.code == 1 and "pairs.tar" in sizes.out


def test_its_run_is_known_to_be_done(old_site: NeoSite) -> None:
    assert "done" in old_site.neo("status", "tiny").out


def test_every_message_it_kept_for_the_tracker_parses(old_site: NeoSite) -> None:
    (run,) = all_runs(old_site.store)
    outbox = Outbox(run.store, run.name)
    kept = [outbox.read(key) for key in outbox.kept()]
    assert len(kept) == outbox.num_messages() > 60
