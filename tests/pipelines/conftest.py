"""What tests of the command line share: a site of their own, and `neo` typed in this process or in another."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pipelines.commands.run
from pipelines.cli import main
from stages.store.refs import read_ref
from stages.store.store import Store
from tests.pipelines.local_graph import run_graph_locally

ROOT = Path(__file__).parents[2]
TOYS = str(Path(__file__).with_name("toy_pipeline.py"))
NOBODY = "http://127.0.0.1:9"
"""A tracker that does not answer: tests that are not about tracking need none."""
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What makes text bold or coloured on a terminal."""


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        return (self.out + self.err).rstrip().splitlines()[-1]


@dataclass(frozen=True)
class NeoSite:
    """A site file of the test's own, and the command line on it."""

    folder: Path
    type_: Callable[[list[str]], Said] = field(repr=False)

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    @property
    def file(self) -> Path:
        return self.folder / "site.toml"

    def neo(self, *words: str) -> Said:
        """Type a command, carried out in this process without Ray."""
        return self.type_([*words, "--site", str(self.file)])

    def on_terminal(self, columns: int, *words: str) -> Said:
        """Type a command on a terminal of so many columns; its styles are left out of what it printed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TTY_COMPATIBLE", "1")
            patch.setattr("pipelines.screen.text_table.is_screen", lambda _: True)
            patch.setenv("COLUMNS", str(columns))
            said = self.neo(*words)
        return Said(said.code, STYLE.sub("", said.out), STYLE.sub("", said.err))

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Type a command in a process group of its own, as a terminal does, without Ray."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.pipelines.local_graph", *words, "--site", str(self.file)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def artifact_folder(self, step: str, pipeline: str = "data") -> Path:
        """The folder of the artifact that `pipeline/step` points at."""
        ref = read_ref(self.store, f"{pipeline}/{step}")
        return self.folder / "store" / "artifacts" / ref["stage"] / ref["fingerprint"][:12]


@pytest.fixture
def type_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], Said]:
    """Type `neo` with these words in this process."""
    monkeypatch.setattr(pipelines.commands.run, "machines", lambda: run_graph_locally)
    monkeypatch.delenv("NEO_SITE", raising=False)

    def type_words(words: list[str]) -> Said:
        monkeypatch.setattr(sys, "argv", ["neo", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Said(code, *capsys.readouterr())

    return type_words


@pytest.fixture
def site(tmp_path: Path, type_: Callable[[list[str]], Said]) -> NeoSite:
    """A site with an empty store and no tracker."""
    (tmp_path / "site.toml").write_text(f'store = "{tmp_path}/store"\nmlflow = "{NOBODY}"\n')
    return NeoSite(tmp_path, type_)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file as MLflow makes it, once for all tests: making one takes seconds."""
    from pipelines.tracking.server import Tracker

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Tracker(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracked(tmp_path: Path, type_: Callable[[list[str]], Said], fresh_database: Path) -> NeoSite:
    """A site with a real SQLite tracker."""
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    (tmp_path / "site.toml").write_text(f'store = "{tmp_path}/store"\nmlflow = "sqlite:///{tmp_path}/mlflow.db"\n')
    return NeoSite(tmp_path, type_)


@pytest.fixture
def executions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What parts and training steps were really worked on, in order, counted outside the store."""
    log = tmp_path / "executions.txt"
    monkeypatch.setenv("TOY_EXECUTIONS", str(log))
    return lambda: log.read_text().split() if log.is_file() else []
