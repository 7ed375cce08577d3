"""The import contracts of pyproject.toml notice what they are there for: a violation that is planted is reported."""

import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.house.test_layout import FLOORS, ROOT

PLANTED = {
    "a floor imports the one above it": (
        "stages/store/store.py",
        "import cluster.site",
        "stages.store.store -> cluster.site",
    ),
    "a stage file imports another": (
        "stages/filter_pairs.py",
        "import stages.mix_samples",
        "stages.filter_pairs -> stages.mix_samples",
    ),
    "a room imports one above it": (
        "stages/formats/tar.py",
        "import stages.packing.plan",
        "stages.formats.tar -> stages.packing.plan",
    ),
    "a room that is in no layer": ("stages/attic/__init__.py", "", "stages.attic"),
    "a room of pipelines imports one above it": (
        "pipelines/runs/run.py",
        "import pipelines.running.signals",
        "pipelines.runs.run -> pipelines.running.signals",
    ),
    "the machines look into a stage's work": (
        "cluster/site.py",
        "import stages.formats.tar",
        "cluster.site -> stages.formats.tar",
    ),
    "a stage commits": ("stages/export.py", "import stages.commit.claims", "stages.export -> stages.commit.claims"),
    "ray outside of cluster": ("pipelines/cli.py", "import ray", "pipelines.cli -> ray"),
    "mlflow outside of tracking": ("pipelines/runs/outbox.py", "import mlflow", "pipelines.runs.outbox -> mlflow"),
    "PyAV outside of the room of videos": ("stages/formats/tar.py", "import av", "stages.formats.tar -> av"),
    "an HTTP server outside of the room that serves": (
        "pipelines/cli.py",
        "import starlette",
        "pipelines.cli -> starlette",
    ),
    "img2dataset outside of its engine": (
        "stages/download/spool.py",
        "import img2dataset",
        "stages.download.spool -> img2dataset",
    ),
    "deepspeed outside of the engine": (
        "stages/training/loop.py",
        "import deepspeed",
        "stages.training.loop -> deepspeed",
    ),
}
"""What is wrong: the file, the line put into it, and what the report must name."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the sources with every violation in it."""
    copy = tmp_path_factory.mktemp("planted")
    for floor in FLOORS:
        shutil.copytree(ROOT / floor, copy / floor, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for file, line, _ in PLANTED.values():
        (copy / file).parent.mkdir(exist_ok=True)
        with (copy / file).open("a") as source:
            source.write(f"\n{line}\n")
    lint = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("wrong", PLANTED)
def test_a_planted_violation_is_reported(wrong: str, report: str) -> None:
    assert PLANTED[wrong][2] in " ".join(report.split())


def test_every_contract_of_the_project_is_shown_broken_by_one(report: str) -> None:
    """A contract without a violation among those above would be one that nobody has seen work."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    flat = " ".join(report.split())
    assert [contract["name"] for contract in contracts if f"{contract['name']} BROKEN" not in flat] == []
