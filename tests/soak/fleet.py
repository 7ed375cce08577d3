"""A cluster of Ray nodes on this machine that lose, stop, slow and fill up as they are told."""

import os
import random
import shutil
import signal
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.session import SETTINGS
from tests.cluster.slow_nodes import patiently
from tests.small_disk import SmallDisk, small_disk

NUM_NODES = 3
NUM_CPUS = 2
"""Of each node, so that a gang of two ranks finds a place while another node is away."""
DISK_BYTES = 512 * 1024 * 1024
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
}


@dataclass
class FleetNode:
    """One node: Ray's own handle, and its disk if a small one could be mounted."""

    name: str
    handle: Any
    disk: SmallDisk | None

    def workers(self) -> list[int]:
        """Processes of the node that make a part or are a rank now."""
        raylet = self.handle.all_processes["raylet"][0].process.pid
        return [pid for pid in children_of(raylet) if is_at_work(pid)]


class Fleet:
    """A head without CPUs, and the nodes behind it. `environment` is that of all their processes."""

    def __init__(self, folder: Path, num_nodes: int = NUM_NODES, environment: Mapping[str, str] | None = None) -> None:
        from ray.cluster_utils import Cluster

        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = dict(environment or {})
        self._mounts = ExitStack()
        head = {"num_cpus": 0, "_system_config": QUICK_TO_NOTICE, "include_dashboard": False}
        settings = head | self._settings(None)
        self._cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=settings))
        self._num_added = 0
        self.nodes: list[FleetNode] = []
        for _ in range(num_nodes):
            self.add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, num_cpus: int = NUM_CPUS) -> FleetNode:
        """One more node, as an autoscaler brings it."""
        self._num_added += 1
        name = f"node-{self._num_added}"
        disk = self._disk(name)
        handle = patiently(lambda: self._cluster.add_node(num_cpus=num_cpus, **self._settings(disk)))
        node = FleetNode(name, handle, disk)
        self.nodes.append(node)
        return node

    def lose(self, node: FleetNode) -> None:
        """Kill a node with everything that runs on it."""
        if node in self.nodes:
            self.nodes.remove(node)
            self._cluster.remove_node(node.handle, allow_graceful=False)

    def at_work(self) -> list[FleetNode]:
        """The nodes that make a part or hold a rank now."""
        return [node for node in self.nodes if node.workers()]

    def chosen(self, chance: random.Random) -> FleetNode:
        """A node for a trouble: one at work where there is one, as nothing is lost with the others."""
        return chance.choice(self.at_work() or self.nodes)

    def end(self) -> None:
        """As if the power failed: nothing ends in order."""
        with suppress(Exception):
            self._cluster.shutdown()
        self._mounts.close()

    def _disk(self, name: str) -> SmallDisk | None:
        try:
            return self._mounts.enter_context(small_disk(self._folder / f"disk-{name}", DISK_BYTES))
        except PermissionError:
            shutil.rmtree(self._folder / f"disk-{name}", ignore_errors=True)
            return None

    def _settings(self, disk: SmallDisk | None) -> dict[str, Any]:
        temporary = {} if disk is None else {"TMPDIR": str(disk.folder)}
        return {"env_vars": SETTINGS | self._environment | temporary, "object_store_memory": 100_000_000}


def children_of(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


def is_at_work(pid: int) -> bool:
    """Whether a worker of Ray executes a task or is an actor: Ray then puts its name into the process title."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return False
    return title.startswith("ray::") and not title.startswith("ray::IDLE")


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def send_to_all(node: FleetNode, number: signal.Signals) -> None:
    """A signal to all processes that work on a node now."""
    for pid in node.workers():
        send(pid, number)
