"""The same commands on Ray: a gang of ranks trains, and what is killed in the middle of training goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines.commands.run
from cluster.graph import run_graph
from cluster.site import Site
from tests.pipelines.conftest import ROOT, TOYS, NeoSite
from tests.pipelines.running.test_execute_run import the_run, wait_until

WHOLE = f"{TOYS}:whole"
RECORDS = "store/artifacts/train_toy/*/records/steps/*.json"


@pytest.fixture
def on_ray(site: NeoSite, ray_site: Site, monkeypatch: pytest.MonkeyPatch) -> NeoSite:
    """The command line on the Ray that all tests share, with two ranks in a gang."""
    site.file.write_text(site.file.read_text() + "[gang]\nnum_ranks = 2\n")
    monkeypatch.setattr(pipelines.commands.run, "machines", lambda: run_graph)
    return site


@pytest.mark.long
def test_a_pipeline_with_training_runs_is_traced_and_audited(on_ray: NeoSite) -> None:
    done = on_ray.neo("run", WHOLE, "--json")
    assert done.code == 0, done
    assert {step["ended"] for step in done.json["steps"].values()} == {"committed"}
    traced = on_ray.neo("trace", "whole/evaluate", "--url", "http://toy.invalid/3.jpg", "--json").json
    said = {sighting["step"]: sighting for sighting in traced["sightings"]}
    assert said["weights"]["details"]["steps"]
    assert said["evaluate"]["said"].startswith("made of what saw it: weights")
    assert on_ray.neo("audit", "whole/evaluate").code == 0
    again = on_ray.neo("run", WHOLE)
    assert again.code == 0 and "Nothing to make" in again.out


def test_a_step_that_fails_on_ray_says_why(on_ray: NeoSite) -> None:
    failed = on_ray.neo("run", f"{TOYS}:broken")
    assert failed.code == 1
    assert "the loss is not finite at step 3" in failed.out
    run = the_run(on_ray)
    assert b"ValueError" in on_ray.store.read(f"{run.folder}/logs/1/weights.txt")


def test_a_driver_killed_in_training_goes_on_from_its_last_checkpoint(on_ray: NeoSite, tmp_path: Path) -> None:
    slow = ("--set", "weights.pause_seconds=1", "--set", "weights.num_steps=8")
    driver = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", WHOLE, *slow, "--site", str(on_ray.file)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: bool(list(tmp_path.glob(RECORDS))), seconds=400)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    planned = {step["name"]: step for step in on_ray.neo("plan", WHOLE, *slow, "--json").json["steps"]}
    at_step = planned["weights"]["at_step"]
    assert planned["weights"]["action"] == "continue" and at_step >= 2
    assert on_ray.neo("run", WHOLE, *slow).code == 0
    run = the_run(on_ray).name
    committed = [json.loads(path.read_text()) for path in sorted(tmp_path.glob(RECORDS))]
    before = [record["facts"]["step"] for record in committed if record["made_by"]["attempt"] == f"{run}-1"]
    after = [record["facts"]["step"] for record in committed if record["made_by"]["attempt"] == f"{run}-2"]
    assert before[-1] == at_step and after[0] > at_step
    assert [*before, *after] == [2, 4, 6, 8]
    assert on_ray.neo("audit", "whole/evaluate").code == 0
