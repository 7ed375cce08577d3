"""A cluster of three Ray nodes on this machine that loses one with a part, one in training, and its head."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.session import SETTINGS
from tests.kill.home import Trace
from tests.kill.invariants import hold_at_the_end
from tests.kill.on_ray import RayHome

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


class Nodes:
    """A head and two more nodes; the last has room for a whole gang, so that a gang goes there."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        head = {"num_cpus": 1, "_system_config": QUICK_TO_NOTICE, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head | self._settings("head"))
        self._cluster.add_node(num_cpus=1, **self._settings("second"))

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, name: str, fault: str = "") -> Any:
        """A node with two CPUs whose workers meet a fault."""
        return self._cluster.add_node(num_cpus=2, **self._settings(name, fault))

    def trace(self, name: str) -> Trace:
        """What the workers of a node have passed."""
        return Trace.read(self.folder / name)

    def lose(self, node: Any) -> None:
        """Kill a node with everything that runs on it."""
        self._cluster.remove_node(node, allow_graceful=False)

    def lose_head(self) -> None:
        """Kill -9 the GCS, as the loss of the head's machine does."""
        from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER

        [gcs] = self._cluster.head_node.all_processes[PROCESS_TYPE_GCS_SERVER]
        os.kill(gcs.process.pid, signal.SIGKILL)

    def shutdown(self) -> None:
        self._cluster.shutdown()

    def _settings(self, name: str, fault: str = "") -> dict[str, Any]:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        asked = {"NEO_FAULT_TRACE": str(self.folder / name), **({"NEO_FAULT": fault} if fault else {})}
        return {"env_vars": SETTINGS | asked, "object_store_memory": 100_000_000}


@contextmanager
def three_nodes(folder: Path) -> Iterator[Nodes]:
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.shutdown()


LAST = "prebuffer"
"""The step up to which the cases go: the first that trains."""


def test_a_node_lost_while_it_makes_a_part_and_one_in_training(golden_on_ray: RayHome, tmp_path: Path) -> None:
    """Of which step the part is depends on Ray: steps run side by side, and each node may get parts of any."""
    with three_nodes(tmp_path / "nodes") as nodes:
        home = RayHome(tmp_path, address=nodes.address)
        first = nodes.add("first", fault="part.files_written:after=sleep")
        driver = home.start("--until", LAST)
        driver.wait_until(lambda: bool(nodes.trace("first").times("part.files_written:after")))
        nodes.lose(first)
        third = nodes.add("third", fault="checkpoint.recorded:after@2=sleep")
        driver.wait_until(lambda: len(nodes.trace("third").times("checkpoint.recorded:after")) == 2)
        at_death = home.committed()
        nodes.lose(third)
        driver.wait()
    for step in home.manifests():
        hold_at_the_end(golden_on_ray, step, at_death, home)


def test_the_head_is_lost_and_the_same_command_goes_on_on_a_new_cluster(golden_on_ray: RayHome, tmp_path: Path) -> None:
    """Typed at once, it waits for the claim of the lost one, whose processes Ray ends within a minute."""
    home = RayHome(tmp_path)
    golden_on_ray.lend(LAST, home)
    with three_nodes(tmp_path / "nodes") as nodes, three_nodes(tmp_path / "others") as others:
        home.address = nodes.address
        nodes.add("third", fault="checkpoint.recorded:after@2=sleep")
        driver = home.start("--until", LAST)
        driver.wait_until(lambda: len(nodes.trace("third").times("checkpoint.recorded:after")) == 2)
        at_death = home.committed()
        nodes.lose_head()
        home.address = others.address
        others.add("third")
        home.run("--until", LAST)
        hold_at_the_end(golden_on_ray, LAST, at_death, home)
        lost = driver.wait()
        assert lost.code != 0, lost.out
