"""Runs on one cluster that ask for machines at the same time, each a driver in a process of its own.

A test runs `main` in a process of its own, which has no other Ray. As a program it is such a driver, which does what it
reads from its input: `python -m tests.cluster.machines.demands ADDRESS`.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import ray
from ray.autoscaler.sdk import request_resources
from ray.cluster_utils import Cluster
from ray.experimental.internal_kv import _internal_kv_get

from cluster.machines.shared_demand import SharedDemand
from tests.cluster.parts.fleet import OBJECT_STORE, REQUEST_KEY

NUM_DRIVERS = 4
NUM_CHANGES = 25


class Driver:
    """A run on the cluster, in its own process and Ray job."""

    def __init__(self, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.machines.demands", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, cpus: float, number: int, changes: int = 1) -> None:
        """Ask for parts of so many CPUs; with `changes`, for other numbers of them before, one after the other."""
        assert self.process.stdin is not None
        print(json.dumps([cpus, number, changes]), file=self.process.stdin, flush=True)

    def wait(self) -> None:
        """Wait until it has asked for what it was last told."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "asked\n"

    def ask(self, cpus: float, number: int) -> None:
        self.tell(cpus, number)
        self.wait()

    def kill(self) -> None:
        """Kill it, and wait until Ray knows."""
        self.process.kill()
        self.process.wait()
        deadline_seconds = time.monotonic() + 60
        while sum(not job["IsDead"] for job in ray._private.state.jobs()) > self.num_living_jobs - 1:
            assert time.monotonic() < deadline_seconds
            time.sleep(0.1)

    num_living_jobs = 0
    """Before the kill."""


def asked() -> list[float]:
    """The CPUs of each bundle that the autoscaler is asked for."""
    return sorted(bundle["CPU"] for bundle in json.loads(_internal_kv_get(REQUEST_KEY) or b"[]"))


def main(folder: Path) -> None:
    """Write what the autoscaler was asked for after each step of the story to `asked.json`."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **OBJECT_STORE, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)
    told, drivers = {}, [Driver(cluster.address) for _ in range(2)]
    try:
        first, second = drivers
        first.ask(1, 3)
        told["one"] = asked()
        second.ask(2, 2)
        told["two"] = asked()
        first.num_living_jobs = sum(not job["IsDead"] for job in ray._private.state.jobs())
        first.kill()
        mine = SharedDemand()
        mine.refresh()
        told["after the kill"] = asked()
        mine.state([({"CPU": 4.0}, 1)])
        told["first again"] = asked()
        second.ask(2, 0)
        told["second ended"] = asked()
        mine.state([])
        told["all ended"] = asked()
        request_resources(bundles=[{"CPU": 16.0}])
        mine.refresh()
        told["a stranger's"] = asked()
        drivers += [Driver(cluster.address) for _ in range(NUM_DRIVERS - 1)]
        for driver in drivers[1:]:
            driver.tell(8, 1, NUM_CHANGES)
        for driver in drivers[1:]:
            driver.wait()
        told["many at once"] = asked()
        (folder / "asked.json").write_text(json.dumps(told))
    finally:
        for driver in drivers:
            driver.process.kill()
            driver.process.wait()
        ray.shutdown()
        cluster.shutdown()


def drive(address: str) -> None:
    """Ask for what is read from the input, until that ends."""
    ray.init(address=address, log_to_driver=False)
    demand = SharedDemand()
    for line in sys.stdin:
        cpus, number, changes = json.loads(line)
        for _ in range(changes - 1):
            demand.state([({"CPU": cpus}, random.randrange(5))])
        demand.state([({"CPU": cpus}, number)])
        print("asked", flush=True)


if __name__ == "__main__":
    drive(sys.argv[1])
