"""`neo doctor` tries what a run needs, says each in a line with what to do, and fails where a run would."""

import shutil
from pathlib import Path

import pytest

import pipelines.doctor
from cluster.site import load_site
from pipelines.doctor import check_cluster, check_disk, check_packages, check_secrets
from tests.pipelines.conftest import NOBODY, NeoSite

CHECKS = ["python", "packages", "store", "disk", "memory", "open files", "secrets", "tracker", "ray", "gpu"]


def verdicts(document: dict) -> dict[str, str]:
    return {finding["name"]: finding["verdict"] for finding in document["findings"]}


def test_a_tracker_that_is_away_is_a_warning_and_no_reason_to_fail(site: NeoSite) -> None:
    said = site.neo("doctor", "--json")
    assert said.code == 0, said
    found = verdicts(said.json)
    assert list(found) == CHECKS
    assert found["tracker"] == "warning" and found["store"] == found["packages"] == found["ray"] == "ok"
    told = site.neo("doctor")
    assert "Connection refused" in told.out and "runs deliver later" in told.out
    assert told.last_line == f"Next: neo plan tiny --site {site.file}"


def test_a_tracker_that_takes_what_is_written_is_left_as_it_was(tracked: NeoSite) -> None:
    from mlflow import MlflowClient

    said = tracked.neo("doctor", "--json")
    assert verdicts(said.json)["tracker"] == "ok", said
    assert [one.name for one in MlflowClient(f"sqlite:///{tracked.folder}/mlflow.db").search_experiments()] == [
        "Default"
    ]


def test_a_store_that_takes_nothing_fails_with_3(site: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, no folder")
    site.file.write_text(f'store = "{tmp_path}/blocked/store"\nmlflow = "{NOBODY}"\n')
    said = site.neo("doctor", "--json")
    assert said.code == 3 and verdicts(said.json)["store"] == "failed"
    assert said.json["next"].startswith("neo doctor")


def test_little_room_is_said_before_there_is_none(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    place = load_site(site.file)
    for free, verdict in ((50, "ok"), (5, "warning"), (0.5, "failed")):
        usage = shutil._ntuple_diskusage(2**50, 0, int(free * 2**30))
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        found = check_disk(place)
        assert found.verdict == verdict and f"{free:.1f} GiB free in" in found.summary
        assert ("TMPDIR" in found.remedy) == (verdict != "ok")


def test_a_package_that_does_not_fit_is_named_with_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["no-such-package>=1", "pydantic<1", 'torch>=1; extra == "gpu"', "numpy>=1"]
    monkeypatch.setattr(pipelines.doctor, "requires", lambda name: wanted)
    found = check_packages()
    assert found.verdict == "failed"
    assert "no-such-package is missing; pydantic is 2." in found.summary and "wanted is <1" in found.summary
    assert "numpy" not in found.summary and "torch" not in found.summary


def test_a_cluster_that_does_not_answer_and_secrets_that_are_not_here_are_named(site: NeoSite) -> None:
    site.file.write_text(
        f'store = "store"\nmlflow = "{NOBODY}"\nsecrets = ["NEO_NOT_HERE", "PATH"]\n[ray]\naddress = "127.0.0.1:9"\n'
    )
    place = load_site(site.file)
    found = check_cluster(place)
    assert found.verdict == "failed" and "no job server at '127.0.0.1:9'" in found.summary
    assert found.summary.count("check that the cluster") == 1
    assert check_secrets(place).summary == "not in this environment: NEO_NOT_HERE"
