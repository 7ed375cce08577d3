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


@pytest.mark.long
def test_parts_ranks_and_loader_workers_run_in_a_folder_with_modules_of_our_names(planted: Path) -> None:
    ran = neo(planted, "run", "mine.py:small", "--site", "site.toml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "planted" not in ran.stderr


OWN_MODULES = """
import helpers
from functools import partial
from stages.artifacts.kinds import KeptPairs
from stages.contract import ItemBalance, Part, Recipe, stage

class OwnRecipe(Recipe):
    num_parts: int = 3

def write_part(part, draft):
    from lib.words import WORDS
    draft.path("word.txt").write_text(helpers.shout(WORDS[int(part.name)]))
    draft.count(ItemBalance(kept=1))

@stage(number=1, recipe=OwnRecipe, makes=KeptPairs)
def own(recipe: OwnRecipe, *, ctx) -> None:
    ctx.spread(write_part, over=[Part(name=str(number)) for number in range(recipe.num_parts)], phase="write")

def small():
    return own.bind("own", OwnRecipe())
"""


def test_modules_of_the_users_own_beside_the_file_run_on_every_worker(planted: Path, tmp_path: Path) -> None:
    (planted / "helpers.py").write_text("def shout(word):\n    return word.upper()\n")
    (planted / "lib").mkdir()
    (planted / "lib" / "words.py").write_text("from helpers import shout\nWORDS = ['a', 'b', shout('c')]\n")
    (planted / "own.py").write_text(OWN_MODULES)
    ran = neo(planted, "run", "own.py:small", "--site", "site.toml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    words = sorted(path.read_text() for path in (tmp_path / "store").glob("artifacts/own/**/word.txt"))
    assert words == ["A", "B", "C"]


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
