"""What many tests share: a test that takes `stage_on_disk` runs once for every stage that the sources declare."""

import ast
import importlib
import multiprocessing
import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import hypothesis
import pytest

from cluster.site import Site, load_site
from tests import s3_server as s3
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.small_disk import SmallDisk, small_disk

ROOT = Path(__file__).parents[1]

hypothesis.settings.register_profile("any_machine", deadline=None)
hypothesis.settings.load_profile("any_machine")
SLOW_TO_IMPORT = [
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "torch._dynamo",
    "stages.training.loop",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "PIL.JpegImagePlugin",
]
"""What the server that ranks of local gangs are forked from imports, once for all tests."""

BEGUN_FIRST = (
    "end_to_end/test_small_run.py",
    "cluster/parts/test_spread.py",
    "kill/test_every_point.py",
    "cluster/test_graph.py",
    "stages/training/test_loop.py",
    "stages/training/engine/test_memory.py",
    "stages/training/engine/test_engine.py",
    "pipelines/planning/estimates/test_estimate.py",
    "pipelines/recipes/test_paper_numbers.py",
    "pipelines/tracking/test_server.py",
    "cluster/test_session.py",
    "stages/test_download_pairs.py",
)
"""The files that take minutes: begun last, one of them would leave one of two workers with nothing to do."""

os.environ |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
multiprocessing.set_forkserver_preload(SLOW_TO_IMPORT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, all others in their order; workers take files in this order (`--no-loadscope-reorder`)."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(BEGUN_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Digests of files are remembered in a cache folder of the tests' own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def plain_site() -> Site:
    """The embedded site; nothing is started."""
    return load_site("embedded")


@pytest.fixture(scope="session")
def ray_site(plain_site: Site) -> Iterator[Site]:
    """The embedded site with its Ray up, once for all tests that need one."""
    from cluster.session import ray_session

    site = plain_site.model_copy(update={"refused_networks": (ip_network("93.184.215.0/24"),)})
    with ray_session(site):
        yield site


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A loopback server that speaks S3, in a process of its own; its address."""
    with s3.s3_server(tmp_path_factory.mktemp("s3") / "log.txt") as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, and the environment in which it is found."""
    for name, value in s3.environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return s3.make_bucket(s3_server, tmp_path.name.replace("_", "-").lower())


@pytest.fixture
def proxy(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """What stands between a store and the server of `bucket`, and fails as it is asked to."""
    with fault_proxy(s3_server) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        yield between


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of a megabyte. Skips where none can be mounted."""
    try:
        with small_disk(tmp_path / "disk") as mounted:
            yield mounted
    except PermissionError as error:
        pytest.skip(str(error))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage_on_disk" in metafunc.fixturenames:
        found = stages_on_disk()
        metafunc.parametrize("stage_on_disk", [stage for _, stage in found], ids=[name for name, _ in found])


def stages_on_disk() -> list[tuple[str, object]]:
    """Name and `Stage` of every function that is decorated with `@stage(...)` under `stages/`, by name."""
    found = []
    for path in sorted((ROOT / "stages").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(_is_stage(decorator) for decorator in node.decorator_list):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.append((node.name, getattr(importlib.import_module(module), node.name)))
    return sorted(found, key=lambda entry: entry[0])


def _is_stage(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "stage"
