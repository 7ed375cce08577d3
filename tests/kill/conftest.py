"""What the cases share: the run that nothing disturbs, made once for all workers of pytest."""

import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

from pipelines.tracking.server import ENVIRONMENT
from tests.kill.driver import PRELOADED
from tests.kill.home import Golden, Home
from tests.kill.on_ray import RayHome

os.environ |= ENVIRONMENT  # before mlflow is imported anywhere
multiprocessing.set_forkserver_preload(PRELOADED)
AnyHome = TypeVar("AnyHome", bound=Home)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], AnyHome]) -> AnyHome:
    """What `make` makes in a folder of this name: the first worker that asks makes it, others read what it noted.

    No case types a command in such a home or changes its store.
    """
    root = factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, noted = shared / name, shared / f"{name}.pickle"
    with FileLock(shared / f"{name}.lock"):
        if not noted.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            noted.write_bytes(pickle.dumps(make(folder)))
        home: AnyHome = pickle.loads(noted.read_bytes())  # noqa: S301  (this session wrote it)
    return home


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

    def make(folder: Path) -> Golden:
        home = Golden(folder, mlflow=f"sqlite:///{shutil.copy(fresh_tracker, folder / 'mlflow.db')}")
        said = home.run()
        assert said.code == 0, said.out
        return home

    return made_once(tmp_path_factory, "golden", make)


@pytest.fixture(scope="session")
def golden_on_ray(tmp_path_factory: pytest.TempPathFactory) -> RayHome:
    """The small recipe, run once on Ray: two ranks in each gang, so its weights are not those of one rank."""

    def make(folder: Path) -> RayHome:
        home = RayHome(folder)
        said = home.run()
        assert said.code == 0, said.out
        return home

    return made_once(tmp_path_factory, "golden-on-ray", make)
