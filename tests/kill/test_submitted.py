"""The small recipe submitted to a cluster that has our code from nowhere but the job: the same fingerprints as those of
`neo run`, and, with the same ranks, the same weights to the last bit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.home import NOBODY
from tests.kill.on_ray import GANG, WAIT_SECONDS, RayHome
from tests.kill.small import WORDS
from tests.pipelines.ray_head import RayHead, ray_head

pytestmark = pytest.mark.kill
ROOT = Path(__file__).parents[2]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayHead]:
    """A cluster that was not started in our folder and does not know of it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with ray_head(num_cpus=2) as running:
        yield running


def test_a_submitted_run_makes_what_run_makes(head: RayHead, golden_on_ray: RayHome, tmp_path: Path) -> None:
    home = RayHome(tmp_path / "home")
    home.folder.mkdir()
    site = home.folder / "site.toml"
    ray = f'code = "wheel"\n[ray]\naddress = "{head.address}"\njobs = "{head.jobs}"\n'
    site.write_text(f'store = "{home.store}"\nmlflow = "{NOBODY}"\n{ray}{GANG}')
    command = [sys.executable, "-m", "pipelines.cli", "submit", *WORDS, "--wait", "--site", str(site)]
    environment = os.environ | head.environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    submitted, run = home.manifests(), golden_on_ray.made
    assert {step: made.fingerprint for step, made in submitted.items()} == {
        step: made.fingerprint for step, made in run.items()
    }
    assert {step: made.content for step, made in submitted.items()} == {
        step: made.content for step, made in run.items()
    }
