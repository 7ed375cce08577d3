"""A run on a Ray of two nodes, of which only the second has GPUs; none of these GPUs exists.

A test runs `main` in a process of its own, which has no other Ray. It imports this module: a stage of `__main__` cannot
be found by workers.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.session import on_this_machine
from cluster.site import PartResources, Site
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from tests.cluster.toy_run import ToyRun
from tests.worlds.cluster_world import Numbers

MIB = 1024**2
OBJECT_STORE = {"object_store_memory": 100 * MIB}
PART = PartResources(cpus=0.5, gpus=0.25, memory_bytes=64 * MIB)


class LookRecipe(Recipe):
    folder: str


def surroundings() -> dict[str, Any]:
    """What Ray has granted to the task that asks, and where it runs."""
    context = ray.get_runtime_context()
    return {"node": context.get_node_id(), "granted": context.get_assigned_resources()}


def look_part(part: Part, draft: PartDraft, folder: str) -> None:
    draft.path("numbers.txt").write_text("1")
    (Path(folder) / "part.json").write_text(json.dumps(surroundings()))


@stage(number=1, recipe=LookRecipe, makes=Numbers)
def look(recipe: LookRecipe, *, ctx: StageContext) -> None:
    (Path(recipe.folder) / "step.json").write_text(json.dumps(surroundings()))
    ctx.spread(partial(look_part, folder=recipe.folder), over=[Part(name="000")], phase="look")


@ray.remote(num_cpus=1)
class Busy:
    """Takes the driver's node up, so that Ray would rather schedule elsewhere."""

    def ready(self) -> None:
        return


def main(folder: Path) -> None:
    """Run one step of one part; leaves `driver.json`, `step.json` and `part.json`."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **OBJECT_STORE})
    try:
        nodes.add_node(num_cpus=2, num_gpus=1, memory=256 * MIB, **OBJECT_STORE)
        ray.init(address=nodes.address)
        busy = Busy.options(scheduling_strategy=on_this_machine()).remote()
        ray.get(busy.ready.remote())
        (folder / "driver.json").write_text(json.dumps({"node": ray.get_runtime_context().get_node_id()}))
        site = Site(name="two_nodes", store=str(folder / "store"), parts=PART)
        outcome = ToyRun(site, folder, [look.bind("look", LookRecipe(folder=str(folder)))]).carry_out()["look"]
        assert outcome.is_committed, outcome
    finally:
        ray.shutdown()
        nodes.shutdown()
