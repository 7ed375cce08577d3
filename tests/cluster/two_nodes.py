"""A run on a Ray of two nodes, of which only the second has GPUs; none of these GPUs exists.

A test runs `main` in a process of its own, which has no other Ray. It imports this module: a stage of `__main__` cannot
be found by workers.
"""

import errno
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.placement import DriverResources
from cluster.session import on_this_machine
from cluster.site import GangResources, PartResources, Resources, Site
from stages.contract import Part, PartDraft, Rank, Recipe, StageContext, stage
from tests.cluster.toy_run import ToyRun
from tests.worlds.cluster_world import Numbers, commit_together

MIB = 1024**2
OBJECT_STORE = {"object_store_memory": 100 * MIB}
PART = PartResources(cpus=0.5, gpus=0.25, memory_bytes=64 * MIB)
NEAR, FAR = {"neo-group": "near"}, {"neo-group": "far"}
"""Labels of the driver's node and of the other one."""
PLACED = Resources(
    parts=PartResources(cpus=0.5, gpus=0, memory_bytes=None, labels=NEAR),
    phases={"far": PartResources(memory_bytes=32 * MIB, labels={"neo-group": "!near"}, resources={"tape": 2})},
    gang=GangResources(num_ranks=2, cpus=0.5, labels=FAR, resources={"tape": 1}, accelerator="H200"),
)


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


@stage(number=1, recipe=LookRecipe, makes=Numbers)
def place(recipe: LookRecipe, *, ctx: StageContext) -> None:
    for phase in ("near", "far"):
        (Path(recipe.folder) / phase).mkdir(exist_ok=True)
        ctx.spread(partial(look_part, folder=f"{recipe.folder}/{phase}"), over=[Part(name="000")], phase=phase)


def look_rank(rank: Rank, folder: str) -> None:
    (Path(folder) / f"rank{rank.rank}.json").write_text(json.dumps(surroundings()))
    (rank.scratch / "rank.txt").write_text("1")
    commit_together(rank, rank.scratch, 1, {})


@stage(number=1, recipe=LookRecipe, makes=Numbers)
def place_ranks(recipe: LookRecipe, *, ctx: StageContext) -> None:
    ctx.gang(partial(look_rank, folder=recipe.folder))


def fail_once(rank: Rank, nodes: Path, error: Exception) -> None:
    with nodes.open("a") as file:
        file.write(ray.get_runtime_context().get_node_id() + "\n")
    if len(nodes.read_text().split()) == 1:
        raise error
    (rank.scratch / "rank.txt").write_text("1")
    commit_together(rank, rank.scratch, 1, {})


@stage(number=1, recipe=LookRecipe, makes=Numbers)
def outlive_a_gpu(recipe: LookRecipe, *, ctx: StageContext) -> None:
    error = RuntimeError("CUDA error: uncorrectable ECC error encountered")
    ctx.gang(partial(fail_once, nodes=Path(recipe.folder) / "gpu_nodes.txt", error=error))


@stage(number=1, recipe=LookRecipe, makes=Numbers)
def outlive_a_full_disk(recipe: LookRecipe, *, ctx: StageContext) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    ctx.gang(partial(fail_once, nodes=Path(recipe.folder) / "disk_nodes.txt", error=error))


MET_FAULTS = (outlive_a_gpu, outlive_a_full_disk)


@ray.remote(num_cpus=1)
class Busy:
    """Takes the driver's node up, so that Ray would rather schedule elsewhere."""

    def ready(self) -> None:
        return


def main(folder: Path) -> None:
    """Run steps that leave a file for the driver, each step, part and rank: what it was granted, and where."""
    here = {"num_cpus": 2, "memory": 256 * MIB, "labels": NEAR}
    nodes = Cluster(initialize_head=True, head_node_args=here | OBJECT_STORE)
    try:
        there = {"num_cpus": 2, "num_gpus": 1, "memory": 256 * MIB, "labels": FAR}
        nodes.add_node(**there, resources={"tape": 2, "accelerator_type:H200": 1}, **OBJECT_STORE)
        ray.init(address=nodes.address)
        busy = Busy.options(scheduling_strategy=on_this_machine()).remote()
        ray.get(busy.ready.remote())
        (folder / "driver.json").write_text(json.dumps({"node": ray.get_runtime_context().get_node_id()}))
        driver = DriverResources(step_memory_bytes=16 * MIB)
        stages = {"place": PLACED, "place_ranks": PLACED}
        site = Site(name="two_nodes", store=str(folder / "store"), parts=PART, stages=stages, driver=driver)
        recipe = LookRecipe(folder=str(folder))
        last = [one.bind(one.name, recipe) for one in (look, place, place_ranks, *MET_FAULTS)]
        outcomes = ToyRun(site, folder, last).carry_out().values()
        assert all(outcome.is_committed for outcome in outcomes), outcomes
    finally:
        ray.shutdown()
        nodes.shutdown()
