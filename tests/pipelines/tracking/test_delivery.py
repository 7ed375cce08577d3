"""A real MLflow server that is away, slow, locked or loses answers: the run does not notice, and nothing is lost.

Whatever happened to the server meanwhile, its pages end as those that `neo mirror` makes in an empty one.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pipelines.tracking.delivery
from pipelines.runs.outbox import Outbox
from pipelines.runs.run import all_runs
from pipelines.runs.settled import settled_runs
from tests.pipelines.conftest import TOYS, NeoSite, Said
from tests.pipelines.running.test_execute_run import wait_until
from tests.pipelines.tracking.mlflow_server import FaultProxy, MlflowServer, mlflow_server
from tests.pipelines.tracking.pages_dump import pages_dump

SCORED = f"{TOYS}:scored"
DATA_SLOWLY = (f"{TOYS}:data", "--set", "pairs.pause_seconds=0.5")
MAX_STEP_SECONDS = 10.0
"""Ten times what a step takes here, and less than one that waited for a tracker would."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server"), fresh_database) as running:
        yield running


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[FaultProxy]:
    """In front of an empty server."""
    server.wipe()
    proxy = FaultProxy(server.port)
    proxy.up()
    yield proxy
    proxy.down()


@pytest.fixture
def served(site: NeoSite, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> NeoSite:
    """A site with that server behind its proxy, and runs that wait for it but a little."""
    monkeypatch.setattr(pipelines.tracking.delivery, "CLOSE_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(pipelines.tracking.delivery, "READER_TIMEOUT_SECONDS", 60.0)
    site.file.write_text(f'store = "{site.folder}/store"\nmlflow = "{proxy.uri}"\n')
    return site


@pytest.fixture
def ends_well(
    served: NeoSite, proxy: FaultProxy, fresh_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Said], None]:
    """Check a run that met a fault, and, the fault over, that the next commands tell the server everything."""

    def check(said: Said) -> None:
        assert said.code == 0, said
        assert max(step["seconds"] for step in said.json["steps"].values()) < MAX_STEP_SECONDS
        wait_until(lambda: all(thread.name != "delivery" for thread in threading.enumerate()))
        monkeypatch.setattr(pipelines.tracking.delivery, "CLOSE_TIMEOUT_SECONDS", 60.0)
        for _ in range(20):
            assert served.neo("show", said.json["run"]).code == 0
            if not num_waiting(served):
                break
        assert num_waiting(served) == 0
        found = pages_dump(proxy.uri)
        assert {page["status"] for pages in found["pages"].values() for page in pages.values()} == {"FINISHED"}
        assert found == mirrored(served, fresh_database)

    return check


def num_waiting(site: NeoSite) -> int:
    return sum(Outbox(site.store, run.name).num_pending() for run in all_runs(site.store))


def mirrored(site: NeoSite, fresh_database: Path) -> dict:
    """The pages that an empty tracker gets from the store."""
    database = site.folder / "mirror.db"
    database.write_bytes(fresh_database.read_bytes())
    other = site.folder / "mirror.toml"
    other.write_text(f'store = "{site.folder}/store"\nmlflow = "sqlite:///{database}"\n')
    assert site.type_(["mirror", "--site", str(other)]).code == 0
    return pages_dump(f"sqlite:///{database}")


def test_a_server_that_was_down_from_the_start(served: NeoSite, proxy: FaultProxy, ends_well) -> None:
    proxy.down()
    said = served.neo("run", SCORED, "--json")
    assert said.json["num_undelivered"] > 0
    proxy.up()
    ends_well(said)


def test_a_server_that_goes_down_in_the_middle(served: NeoSite, proxy: FaultProxy, ends_well) -> None:
    driver = served.start("run", *DATA_SLOWLY, "--json")
    wait_until(lambda: bool(list(served.folder.glob("store/runs/*/outbox/00000001.json.sent"))))
    proxy.down()
    out, err = driver.communicate(timeout=60)
    said = Said(driver.returncode, out, err)
    assert said.json["num_undelivered"] > 0
    proxy.up()
    ends_well(said)


@pytest.mark.long
def test_a_server_that_takes_seconds_for_each_call(served: NeoSite, proxy: FaultProxy, ends_well) -> None:
    proxy.delay_seconds = 2.0
    said = served.neo("run", SCORED, "--json")
    assert said.json["num_undelivered"] > 0
    proxy.delay_seconds = 0.0
    ends_well(said)


@pytest.mark.long
def test_a_server_whose_database_is_locked(served: NeoSite, server: MlflowServer, ends_well) -> None:
    with server.locked():
        said = served.neo("run", SCORED, "--json")
    assert said.json["num_undelivered"] > 0
    ends_well(said)


def test_answers_that_are_lost_leave_nothing_twice(served: NeoSite, proxy: FaultProxy, ends_well) -> None:
    proxy.loses_first_answers = True
    said = served.neo("run", SCORED, "--json")
    assert said.json["num_undelivered"] > 0
    ends_well(said)
    assert {call.rpartition("/")[2] for call in proxy.lost} >= {
        "create",
        "log-batch",
        "update",
        "log-inputs",
        "outputs",
    }


def test_a_driver_that_was_killed_while_the_server_was_away(
    served: NeoSite, proxy: FaultProxy, fresh_database: Path
) -> None:
    proxy.down()
    driver = served.start("run", f"{TOYS}:data", TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(served.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    proxy.up()
    (run,) = all_runs(served.store)
    assert "killed" in served.neo("show", run.name).out
    found = pages_dump(proxy.uri)
    assert {page["status"] for page in found["pages"]["data"].values()} == {"KILLED"}
    assert found == mirrored(served, fresh_database)


def test_a_command_that_reads_leaves_a_slow_server_its_backlog_and_a_run_waits_for_it(
    served: NeoSite, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.down()
    run = served.neo("run", SCORED, "--json").json["run"]
    num_before = num_waiting(served)
    proxy.up()
    proxy.delay_seconds = 3.0
    monkeypatch.setattr(pipelines.tracking.delivery, "READER_TIMEOUT_SECONDS", 0.1)
    said = served.neo("show", run)
    assert said.code == 0
    assert said.out.startswith(f"MLflow is slow: {num_before} messages of ended runs are left to later commands.")
    wait_until(lambda: all(thread.name != "delivery" for thread in threading.enumerate()))
    assert num_waiting(served) >= num_before - 1
    proxy.delay_seconds = 0.05
    monkeypatch.setattr(pipelines.tracking.delivery, "CLOSE_TIMEOUT_SECONDS", 60.0)
    patient = served.neo("run", SCORED)  # has nothing to make, and waits for messages that take longer than 0.1 s
    assert patient.code == 0 and "MLflow" not in patient.out.partition("\n")[0]
    assert num_waiting(served) == 0
    assert [mark.outcome for mark in settled_runs(served.store).values()] == ["done"]
