"""A small fleet: two machines that run parts, one of them broken in turn in several ways, and a head that runs none.

A test runs `main` in a process of its own, which has no other Ray. It imports this module: a stage of `__main__` cannot
be found by workers.
"""

import errno
import json
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig
from ray.experimental.internal_kv import _internal_kv_get

from cluster.site import PartResources, Site
from stages.contract import Event, Part, PartDraft, Recipe, StageContext, StageError, stage
from tests.cluster.toy_run import ToyRun
from tests.worlds.cluster_world import Numbers, times, wait_for, write_down

MIB = 1024**2
OBJECT_STORE = {"object_store_memory": 100 * MIB}
NUM_PARTS = 8
REQUEST_KEY = b"autoscaler_resource_request"
"""Key under which Ray keeps what its autoscaler was last asked for."""


class FleetRecipe(Recipe):
    diary: str
    fault: str = ""
    """Name of a function below, which fails."""
    node: str = ""
    """Ray node on which parts fail; empty means on all."""
    part: str = ""
    """The only part that fails; empty means all."""
    num_faults: int = 1000
    """How often parts fail; after that they do not."""
    num_parts: int = NUM_PARTS
    part_seconds: float = 0.2


def disk_full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_resolver() -> None:
    try:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    except OSError as error:
        raise StageError("the list of files cannot be read") from error


def wrong_work() -> None:
    raise ValueError("cannot make this")


FAULTS: dict[str, Callable[[], None]] = {one.__name__: one for one in (disk_full, broken_resolver, wrong_work)}


def make_on_fleet(part: Part, draft: PartDraft, recipe: FleetRecipe) -> None:
    node = ray.get_runtime_context().get_node_id()
    write_down(recipe.diary, f"begun-{part.name}-{node}")
    time.sleep(recipe.part_seconds)
    is_here = recipe.node in ("", node) and recipe.part in ("", part.name)
    if recipe.fault and is_here and times(Path(recipe.diary), "failed") < recipe.num_faults:
        write_down(recipe.diary, "failed")
        FAULTS[recipe.fault]()
    draft.path("numbers.txt").write_text("1")
    write_down(recipe.diary, f"done-{part.name}-{node}")


@stage(number=1, recipe=FleetRecipe, makes=Numbers)
def work(recipe: FleetRecipe, *, ctx: StageContext) -> None:
    parts = [Part(name=f"{index:03d}") for index in range(recipe.num_parts)]
    ctx.spread(partial(make_on_fleet, recipe=recipe), over=parts, phase="make")


@ray.remote(num_cpus=2)
class Busy:
    """Takes a node up, so that nothing else runs there."""

    def ready(self) -> None:
        return


class Fleet:
    """The machines, and what is noted of each run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **OBJECT_STORE})
        self.nodes = [self.cluster.add_node(num_cpus=2, **OBJECT_STORE) for _ in range(2)]
        ray.init(address=self.cluster.address, log_to_driver=False)

    def run(
        self,
        name: str,
        watch: Callable[[ToyRun, Event], None] = lambda run, event: None,
        attempt: int = 1,
        meanwhile: Callable[[ToyRun], None] = lambda run: None,
        parts: PartResources | None = None,
        **changes: Any,
    ) -> None:
        """Run the one step, and note under this name how it ended and what was told."""
        recipe = FleetRecipe(diary=str(self.folder / "diary" / name.removesuffix("-again")), **changes)
        site = Site(name="fleet", store=str(self.folder / "store"), parts=parts or PartResources())
        run = ToyRun(site, self.folder, [work.bind("work", recipe)], attempt)
        beside = threading.Thread(target=meanwhile, args=(run,))
        beside.start()
        outcome = run.carry_out(lambda event: watch(run, event))["work"]
        beside.join()
        told = {
            "nodes": [node.node_id for node in self.nodes],
            "ending": outcome.ending,
            "reason": outcome.reason,
            "warnings": [event.message for event in run.events if event.event == "noticed"],
            "awaited": [[event.asked, event.has] for event in run.events if event.event == "queued"],
        }
        (self.folder / f"{name}.json").write_text(json.dumps(told))

    def remove(self, node: Any) -> None:
        """Take a machine away, and wait until Ray knows that."""
        self.cluster.remove_node(node, allow_graceful=False)
        while any(one["NodeID"] == node.node_id and one["Alive"] for one in ray.nodes()):
            time.sleep(0.1)

    def lose(self, node: Any, run: ToyRun) -> None:
        """Take a machine away once a part runs there."""
        wait_for(Path(run.steps["work"].recipe.diary), f"begun-*-{node.node_id}")
        self.remove(node)

    def report_node_types(self) -> None:
        """Tell Ray of an autoscaler with one type of node, as whoever runs a cluster may do."""
        config = ClusterConfig()
        group = config.node_group_configs.add()
        group.name, group.max_count = "large", 3
        group.resources["CPU"] = 16
        GcsClient(self.cluster.address).report_cluster_config(config.SerializeToString())

    def watch_demand(self, run: ToyRun) -> None:
        """Note each number of parts for which the autoscaler is asked, until it is asked for none."""
        numbers: list[int] = []
        deadline_seconds = time.monotonic() + 60
        while numbers[-1:] != [0] and time.monotonic() < deadline_seconds:
            number = len(json.loads(_internal_kv_get(REQUEST_KEY) or b"[]"))
            if number != (numbers or [0])[-1]:
                numbers.append(number)
            time.sleep(0.02)
        (self.folder / "demand.txt").write_text(json.dumps(numbers))

    def stop_soon(self, run: ToyRun) -> None:
        time.sleep(4)
        run.stop.set()


def main(folder: Path) -> None:
    """Run one scenario after the other; leaves `NAME.json` of each."""
    fleet = Fleet(folder)
    first = fleet.nodes[0].node_id
    try:
        fleet.run("full", fault="disk_full", node=first)
        fleet.run("resolver", fault="broken_resolver", node=first)
        fleet.run("one", fault="wrong_work", node=first, part="002")
        fleet.run("both", fault="wrong_work", part="002")
        some = PartResources(max_failed_parts=0.2)
        fleet.run("some", fault="wrong_work", part="002", parts=some, num_faults=2)
        fleet.run("some-again", fault="wrong_work", part="002", parts=some, num_faults=2, attempt=2)
        third = fleet.cluster.add_node(num_cpus=2, **OBJECT_STORE)
        fleet.run("lost", meanwhile=partial(fleet.lose, third), num_parts=30, part_seconds=0.5)
        busy = [Busy.remote() for _ in fleet.nodes]
        ray.get([one.ready.remote() for one in busy])
        fleet.run("stopped", meanwhile=fleet.stop_soon, parts=PartResources(max_parallel=200), num_parts=1000)
        for one in busy:
            ray.kill(one)
        fleet.run("too-large", meanwhile=fleet.stop_soon, parts=PartResources(cpus=64), num_parts=3)
        fleet.report_node_types()
        fleet.run("larger-than-any", parts=PartResources(cpus=64))
        fleet.run("demand", meanwhile=fleet.watch_demand, num_parts=12, part_seconds=1.0)
        fleet.remove(fleet.nodes.pop())
        fleet.run("alone-full", fault="disk_full", part="002")
        fleet.run("alone-resolver", fault="broken_resolver", part="002", num_faults=1)
    finally:
        ray.shutdown()
        fleet.cluster.shutdown()
