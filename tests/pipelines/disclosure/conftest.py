"""A site whose store holds a model that learned from pairs of the web."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.pipelines.conftest import ROOT, NeoSite
from tests.worlds.cut_world import film

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


@pytest.fixture
def films_web(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback for the folder `films`, with one film; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "films").mkdir()
    (tmp_path / "films/a.mp4").write_bytes(film(1.0))
    handler = partial(Quiet, directory=str(tmp_path / "films"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
