"""`tiny_ov` as a person runs it, small: films over HTTP, some broken, to answers with a control and a contact sheet."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = f"{Path(__file__).with_name('small_ov.py')}:small_ov"
WAIT_SECONDS = 600
pytestmark = [pytest.mark.kill, pytest.mark.timeout(2 * WAIT_SECONDS)]


class OvHome:
    """A folder in which a person types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "neo-store"

    def neo(self, *words: str) -> str:
        command = [sys.executable, "-m", "pipelines.cli", *words]
        environment = {**os.environ, "NEO_HOME": str(self.folder)}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, text=True, capture_output=True, timeout=WAIT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *words: str) -> Any:
        return json.loads(self.neo(*words, "--json"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> OvHome:
    made = OvHome(tmp_path_factory.mktemp("small_ov"))
    made.neo("run", RECIPE)
    return made


def test_every_film_is_accounted_for(home: OvHome) -> None:
    items = home.ask("show", "small_ov/clips")["items"]
    assert items["entered"] == 60
    assert items["kept"] + sum(items["dropped"].values()) + sum(items["failed"].values()) == 60
    assert items["dropped"]
    assert items["failed"]


def test_a_second_run_makes_nothing(home: OvHome) -> None:
    assert "Nothing to make" in home.neo("run", RECIPE)


def test_the_evaluation_has_controls_and_a_contact_sheet(home: OvHome) -> None:
    metrics = home.ask("show", "small_ov/ov_evaluate")["metrics"]
    kinds = ("sideways", "upright", "first", "last", "size", "more", "left_of", "nearer", "how_far", "step")
    assert {f"accuracy_{kind}" for kind in kinds} <= set(metrics)
    assert metrics["num_questions"] == 10 + 2 * 4 + 2 * 2
    assert any(name.startswith("accuracy_shuffled") for name in metrics)
    assert list(home.store.glob("artifacts/evaluate/*/attempts/*/*/*/contact_sheet.png"))


def test_the_prebuffer_is_that_of_the_model_before(home: OvHome) -> None:
    assert "taken" in home.neo("trace", "small_ov/ov_prebuffer")


def test_a_film_is_followed_to_what_it_taught(home: OvHome) -> None:
    trace = home.neo("trace", "--url", "http://toy.invalid/7/heldout-film/000000.mp4")
    assert "ov_questions" in trace
