"""The command line on an object store: a whole small pipeline, and stores and credentials that are not fit."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.store.refs import read_ref
from stages.store.store import Store
from tests.fault_proxy import ALWAYS, Fault, FaultProxy, storm
from tests.pipelines.conftest import NOBODY, TOYS, NeoSite

DATA = f"{TOYS}:data"
Executions = Callable[[], list[str]]


@pytest.fixture
def remote(bucket: str, site: NeoSite) -> NeoSite:
    """The site's store lies in a bucket."""
    site.file.write_text(f'store = "{bucket}/team"\nmlflow = "{NOBODY}"\n')
    return site


def test_a_pipeline_is_planned_made_reused_audited_and_shown(remote: NeoSite, executions: Executions) -> None:
    assert "nothing yet in the store s3://" in remote.neo("audit", "data").err
    assert remote.neo("plan", DATA).code == 0
    assert remote.neo("run", DATA).code == 0
    assert len(executions()) == len(set(executions())) == 6
    assert "Nothing to make" in remote.neo("run", DATA).out
    assert len(executions()) == 6
    assert "Everything is as it was committed." in remote.neo("audit", "data/rows").out
    assert "data/rows" in remote.neo("list").out


def test_a_store_and_a_folder_hold_the_same(remote: NeoSite, bucket: str, tmp_path: Path) -> None:
    """The same pipeline once more, in a folder: the same manifests by content."""
    remote.neo("run", DATA)
    remote.file.write_text(f'store = "{tmp_path}/store"\nmlflow = "{NOBODY}"\n')
    remote.neo("run", DATA)
    there, here = Store(f"{bucket}/team"), remote.store
    for step in ("pairs", "kept", "mix", "rows"):
        refs = [read_ref(store, f"data/{step}") for store in (there, here)]
        assert refs[0]["fingerprint"] == refs[1]["fingerprint"]
        folder = f"artifacts/{refs[0]['stage']}/{refs[0]['fingerprint'][:12]}"
        assert (
            there.read_json(f"{folder}/manifest.json")["content"]
            == here.read_json(f"{folder}/manifest.json")["content"]
        )


def test_two_runs_at_once_share_the_work(remote: NeoSite, executions: Executions) -> None:
    drivers = [remote.start("run", DATA) for _ in range(2)]
    assert [driver.communicate(timeout=120) and driver.returncode for driver in drivers] == [0, 0]
    assert len(executions()) == len(set(executions())) == 6


def test_a_store_without_conditional_writes_is_refused_then_taken_for_one_writer_with_a_warning(
    remote: NeoSite, proxy: FaultProxy
) -> None:
    proxy.ask(Fault.UNCONDITIONAL, "PUT", times=ALWAYS)
    refused = remote.neo("run", DATA)
    assert refused.code == 3
    assert "two creates of one key both succeeded" in refused.err
    assert "single_writer = true" in refused.err
    with remote.file.open("a") as file:
        file.write("single_writer = true\n")
    said = remote.neo("run", DATA)
    assert said.code == 0
    assert "WARNING" in said.err and "one command at a time" in said.err
    assert "Everything is as it was committed." in remote.neo("audit", "data/rows").out


def test_a_listing_that_lags_behind_decides_nothing(
    remote: NeoSite, proxy: FaultProxy, executions: Executions, tmp_path: Path
) -> None:
    """The driver is killed half way through; to the next one no listing shows any of what was made."""
    fault = {"NEO_FAULT": "part.recorded:after@4=kill", "AWS_ENDPOINT_URL": proxy.address}
    assert remote.start("run", DATA, **fault).wait(timeout=120) == -9
    assert len(executions()) == 4
    proxy.ask(Fault.EMPTY_LISTING, times=ALWAYS)
    said = remote.neo("run", DATA)
    assert said.code == 0, said.out + said.err
    assert len(executions()) == len(set(executions())) == 6, "no part that is recorded was made again"
    assert any(rule.num_hits for rule in proxy.rules)
    proxy.rules.clear()
    assert "Everything is as it was committed." in remote.neo("audit", "data/rows").out


def test_a_storm_changes_nothing(remote: NeoSite, proxy: FaultProxy, executions: Executions) -> None:
    """One request in eight meets an error, throttling, a conflict or a lost answer, from the first to the last."""
    proxy.watch = storm(proxy, random.Random(7))
    said = remote.neo("run", DATA)
    assert said.code == 0, said.out + said.err
    assert len(executions()) == len(set(executions())) == 6
    proxy.watch = None
    assert sum(rule.num_hits for rule in proxy.rules) > 10
    assert "Everything is as it was committed." in remote.neo("audit", "data/rows").out


def test_permission_lost_in_the_middle_stops_the_run_and_giving_it_back_goes_on(
    remote: NeoSite, proxy: FaultProxy, executions: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first record of the second step on, the credentials have expired. The claim that could not be given up
    counts as lost after a while, since this process lives on."""
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "1")
    expired = proxy.ask(Fault.FORBIDDEN, times=0)

    def expire(method: str, path: str) -> None:
        if method == "PUT" and "/judge_toys/" in path and "/records/" in path:
            expired.times = ALWAYS

    proxy.watch = expire
    said = remote.neo("run", DATA)
    assert said.code in (1, 3)
    assert "does not permit to" in said.out + said.err
    assert "get valid credentials or permissions" in said.out + said.err
    assert f"neo run {DATA}" in said.last_line
    assert expired.num_hits < 20, "no storm of tries"
    num_before = len(executions())
    proxy.watch, expired.times = None, 0
    assert remote.neo("run", DATA).code == 0
    assert len(executions()) - num_before <= 4, "what was recorded is not made again"
    assert "Everything is as it was committed." in remote.neo("audit", "data/rows").out
