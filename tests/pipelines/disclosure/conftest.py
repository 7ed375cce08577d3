"""A site whose store holds a model that learned from pairs of the web."""

import shutil
from pathlib import Path

import pytest

from tests.pipelines.conftest import ROOT, NeoSite

WEB = str(ROOT / "tests" / "worlds" / "web_world.py")


@pytest.fixture(scope="session")
def kept_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stores are kept, once a test has run a pipeline."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def web(site: NeoSite, kept_store: Path, request: pytest.FixtureRequest) -> NeoSite:
    """A pipeline of `web_world.py` is its parameter, `web` if it has none."""
    pipeline = getattr(request, "param", "web")
    kept = kept_store / pipeline
    if kept.exists():
        shutil.copytree(kept, site.folder / "store")
        return site
    said = site.neo("run", f"{WEB}:{pipeline}")
    assert said.code == 0, said.err
    shutil.copytree(site.folder / "store", kept)
    return site
