"""Modules named `cluster`, `stages`, `pipelines` or `neo_model` in the current folder of a user change nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.import_path import python_path
from tests.pipelines.ray_head import ray_head

ROOT = Path(__file__).parents[2]
OUR_PACKAGES = ("cluster", "stages", "pipelines", "neo_model")

TRAINS_ON_TWO_RANKS = """
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.worlds.training_world import LlmRecipe, RowsRecipe, make_llm, make_rows

def small():
    llm = make_llm.bind("llm", LlmRecipe())
    rows = make_rows.bind("rows", RowsRecipe(), llm)
    recipe = TrainPrebufferRecipe(
        num_prebuffer_layers=1, patch_hidden=16, num_steps=4, rows_per_step=4, num_warmup_steps=2, precision="fp32"
    )
    return train_prebuffer.bind("buffer", recipe, [rows], llm)
"""
"""A user's pipeline file: two steps of parts, and training on two ranks."""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a user's pipeline file and four modules that raise when they are imported."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for number, name in enumerate(OUR_PACKAGES):
        path = folder / f"{name}.py" if number % 2 else folder / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise ImportError('the planted {name} was imported')\n")
    (folder / "mine.py").write_text(TRAINS_ON_TWO_RANKS)
    (folder / "site.toml").write_text(
        f"""
        store = "{tmp_path}/store"
        mlflow = "http://127.0.0.1:9"
        code = "local"
        [ray]
        address = "local"
        num_cpus = 2
        [gang]
        num_ranks = 2
        zero_stage = 2
        num_loader_workers = 1
        """
    )
    return folder


def neo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type `neo` in a folder. The import path holds the tests, whose toy stages the pipeline is made of."""
    return subprocess.run(
        [Path(sys.executable).with_name("neo"), *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_parts_ranks_and_loader_workers_run_in_a_folder_with_modules_of_our_names(planted: Path) -> None:
    ran = neo(planted, "run", "mine.py:small", "--site", "site.toml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "planted" not in ran.stderr


def test_what_lies_beside_a_pipeline_file_cannot_be_imported_by_it(planted: Path) -> None:
    """A run keeps the text of that one file; a module beside it would be missing where the run is resumed."""
    (planted / "helpers.py").write_text("WIDTH_PX = 64\n")
    (planted / "leaning.py").write_text("import helpers\n\ndef small():\n    return helpers.WIDTH_PX\n")
    planned = neo(planted, "plan", "leaning.py:small", "--site", "site.toml")
    assert planned.returncode == 2
    assert "line 1: ModuleNotFoundError: No module named 'helpers'" in planned.stderr


def test_empty_entries_of_pythonpath_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}/of/a/user{os.pathsep}")
    entries = python_path()["PYTHONPATH"].split(os.pathsep)
    assert entries[-1] == "/of/a/user"
    assert all(entries)


JOB = """
import sys, time
from cluster.jobs import Jobs
from cluster.site import RaySettings, Site

address, dashboard, store = sys.argv[1:]
jobs = Jobs(Site(name="away", store="s", code="local", ray=RaySettings(address=address, jobs=dashboard)))
assert jobs.submit("job-1", "pipelines.driver", [store, "nobody", "1"])
deadline_seconds = time.monotonic() + 120
while jobs.state("job-1") != "ended" and time.monotonic() < deadline_seconds:
    time.sleep(0.2)
print(jobs.last_lines("job-1"))
"""


def test_a_job_of_the_cluster_starts_in_a_folder_with_modules_of_our_names(planted: Path) -> None:
    """Submitted from a process of its own: Ray caches the token of the first cluster that a process talks to."""
    with ray_head(folder=planted) as head:
        command = [sys.executable, "-c", JOB, head.address, head.jobs, str(planted / "store")]
        environment = os.environ | head.environment
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    assert "run nobody has no submission 1" in done.stdout, done.stderr
