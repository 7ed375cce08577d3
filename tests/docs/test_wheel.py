"""The wheel works outside the repository: built, installed into a fresh environment, and asked for the demo."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

TAKEN = ("neo_model", "stages", "cluster", "pipelines", "neo_pipelines")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the build backend that `pyproject.toml` names, from a copy of what belongs to it."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, listed):
        if name.split("/")[0] in (*TAKEN, "pyproject.toml", "README.md", "LICENSE"):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                target.write_bytes((ROOT / name).read_bytes())
    build = "from setuptools import build_meta as b; print(b.build_sdist('..')); print(b.build_wheel('..'))"
    ran = subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "source", capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def neo(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`neo` of a fresh environment that holds the wheel, and beside it the packages of this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, env=os.environ | {"PYTHONPATH": ""})
    ours = [place for place in sys.path if place and (Path(place) / "torch").is_dir()]
    (packages / "usual.pth").write_text("\n".join(ours) + "\n")
    return folder / "bin" / "neo"


def ask(neo: Path, folder: Path, *words: str, seconds: int = 600) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    known = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NEO_SITE", "NEO_HOME")}
    return subprocess.run(
        [str(neo), *words], cwd=folder, env=known | {"DS_BUILD_OPS": "0"}, capture_output=True, text=True,
        check=False, timeout=seconds,
    )  # fmt: skip


@pytest.mark.long
def test_the_wheel_holds_all_files_that_are_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    read = [path for top in TAKEN for path in (ROOT / top).rglob("*") if path.suffix in (".toml", ".ttf", ".html")]
    read += [*(ROOT / "pipelines" / "recipes").glob("sources.*"), *(ROOT / "cluster" / "ray").glob("*")]
    missing = [str(path.relative_to(ROOT)) for path in read if path.relative_to(ROOT).as_posix() not in held]
    assert sorted(missing) == []


@pytest.mark.long
def test_it_plans_the_demo_and_begins_a_project_in_an_empty_folder(neo: Path, tmp_path: Path) -> None:
    planned = ask(neo, tmp_path / "empty", "plan", "tiny")
    assert planned.returncode == 0 and "21 to make" in planned.stdout, planned.stdout + planned.stderr
    begun = ask(neo, tmp_path / "other", "init", "project")
    assert begun.returncode == 0 and (tmp_path / "other" / "project" / "pipeline.py").is_file(), begun.stderr


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_it_runs_the_demo(neo: Path, tmp_path: Path) -> None:
    ran = ask(neo, tmp_path / "empty", "run", "tiny", seconds=3600)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "Nothing to make" in ask(neo, tmp_path / "empty", "run", "tiny").stdout
