"""What the cases share: the run that nothing disturbs."""

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from pipelines.tracking.server import ENVIRONMENT
from tests.kill.driver import PRELOADED
from tests.kill.home import Golden
from tests.kill.on_ray import RayHome

os.environ |= ENVIRONMENT  # before mlflow is imported anywhere
multiprocessing.set_forkserver_preload(PRELOADED)


@pytest.fixture(scope="session")
def fresh_tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file as MLflow makes it: making one takes seconds."""
    from pipelines.tracking.server import Tracker

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Tracker(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory, fresh_tracker: Path) -> Golden:
    """The small recipe, run once from end to end without Ray, with a tracker."""
    folder = tmp_path_factory.mktemp("golden")
    home = Golden(folder, mlflow=f"sqlite:///{shutil.copy(fresh_tracker, folder / 'mlflow.db')}")
    said = home.run()
    assert said.code == 0, said.out
    return home


@pytest.fixture(scope="session")
def golden_on_ray(tmp_path_factory: pytest.TempPathFactory) -> RayHome:
    """The small recipe, run once on Ray: two ranks in each gang, so its weights are not those of one rank."""
    home = RayHome(tmp_path_factory.mktemp("golden-on-ray"))
    said = home.run()
    assert said.code == 0, said.out
    return home
