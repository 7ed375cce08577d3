"""A site whose store holds a model that learned from pairs of the web."""

import shutil
from pathlib import Path

import pytest

from tests.pipelines.conftest import ROOT, NeoSite

WEB = str(ROOT / "tests" / "worlds" / "web_world.py")


@pytest.fixture(scope="session")
def kept_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store is kept, once a test has run the pipeline."""
    return tmp_path_factory.mktemp("web") / "store"


@pytest.fixture
def web(site: NeoSite, kept_store: Path) -> NeoSite:
    if kept_store.exists():
        shutil.copytree(kept_store, site.folder / "store")
        return site
    said = site.neo("run", f"{WEB}:web")
    assert said.code == 0, said.err
    shutil.copytree(site.folder / "store", kept_store)
    return site
