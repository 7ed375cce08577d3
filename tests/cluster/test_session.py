"""Ray for a run: one for the process that asks first, silent, and refused soon where there is none."""

import os
import signal
import socket
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cluster.session import SessionError, ray_session, worker_options
from cluster.site import RaySettings, Site
from cluster.versions import OLDEST_RAY
from stages.contract import REFUSED_NETWORKS_VARIABLE
from tests.cluster.own_process import run_main
from tests.long import long


def test_a_session_is_private_and_leaves_the_drivers_environment_as_it_was(ray_site: Site) -> None:
    @ray.remote(num_cpus=1)
    def surroundings() -> dict[str, str]:
        return dict(os.environ)

    found = ray.get(surroundings.remote())
    assert Path(found["RAY_TMPDIR"]).name.startswith("neo-ray-")
    assert Path(found["TMPDIR"]).name.startswith("neo-scratch-")
    assert len(found["RAY_AUTH_TOKEN"]) == 64
    assert found[REFUSED_NETWORKS_VARIABLE] == "93.184.215.0/24"
    assert not {"RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_TRAIN_METRICS_ENABLED"} & set(os.environ)


def test_a_session_within_a_session_is_the_same_and_stays_open(ray_site: Site) -> None:
    node = ray.get_runtime_context().get_node_id()
    with ray_session(ray_site):
        assert ray.get_runtime_context().get_node_id() == node
    assert ray.is_initialized()


def test_workers_of_a_session_that_was_open_refuse_the_networks_of_a_further_site(ray_site: Site) -> None:
    """A notebook has Ray up for one site, and runs a pipeline at another one, which refuses more."""
    further = ray_site.model_copy(update={"refused_networks": (ip_network("198.18.0.0/16"),)})

    @ray.remote(num_cpus=0)
    def refused() -> str:
        return os.environ.get(REFUSED_NETWORKS_VARIABLE, "")

    @ray.remote(num_cpus=0)
    def starts_a_part() -> tuple[str, str]:
        return os.environ.get(REFUSED_NETWORKS_VARIABLE, ""), ray.get(refused.remote())

    with ray_session(further):
        assert worker_options(ray_site) == worker_options(Site(name="any", store="s")) == {}
        of_step, of_part = ray.get(starts_a_part.options(**worker_options(further)).remote())
    assert of_step == of_part == "198.18.0.0/16,93.184.215.0/24"
    assert ray.get(refused.remote()) == "93.184.215.0/24", "workers of the open session are as they were"


def test_the_death_of_a_worker_prints_nothing(ray_site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    @ray.remote(max_retries=0)
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(die.remote())
    time.sleep(1)  # what a raylet has to say takes a while to arrive
    assert capfd.readouterr() == ("", "")


def test_a_cluster_that_does_not_answer_is_refused_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    site = Site(name="away", store="s", ray=RaySettings(address=address))
    with pytest.raises(SessionError, match=rf"site 'away': no Ray at '{address}'.*refused.*--site"):
        with ray_session(site):
            pass


def test_a_ray_that_nothing_was_tested_with_is_refused(plain_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.__version__", "2.58.1")
    with pytest.raises(SessionError, match=r"Ray is 2\.58\.1 here; neo-pipelines runs on Ray 2\.59\.0 or later"):
        with ray_session(plain_site):
            pass


def test_a_cluster_of_another_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    run_main("tests.cluster.test_session", tmp_path, 300)


def main(_folder: Path) -> None:
    """Connect to a cluster that this process takes to be of another version, so that Ray itself compares them."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 1024**2})
    theirs, ray.__version__ = ray.__version__, f"{OLDEST_RAY}999"
    site = Site(name="away", store="s", ray=RaySettings(address=nodes.address))
    words = rf"site 'away'.*the cluster runs Ray {theirs} on Python 3.*, this process Ray {OLDEST_RAY}999 on Python 3"
    with pytest.raises(SessionError, match=words):
        with ray_session(site):
            pass
    assert not ray.is_initialized()
    nodes.shutdown()


HOST = """
import subprocess, sys, ray
from cluster.session import ray_session
from cluster.site import load_site
with ray_session(load_site("embedded")):
    stranger = [sys.executable, "-c", sys.argv[1], ray.get_runtime_context().gcs_address]
    sys.exit(subprocess.run(stranger, env={"RAY_py_gcs_connect_timeout_s": "2"}).returncode)
"""
STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1])
except ConnectionError:
    sys.exit(17)
"""
REFUSED = 17


@pytest.mark.parametrize("mode", [long("disabled"), "token"])
def test_nobody_without_the_token_enters_even_where_the_environment_disables_it(mode: str, tmp_path: Path) -> None:
    host = subprocess.run(
        [sys.executable, "-c", HOST, STRANGER],
        env=os.environ | {"RAY_AUTH_MODE": mode},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert host.returncode == REFUSED, host.stdout + host.stderr
