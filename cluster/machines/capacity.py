"""What the machines of the cluster hold, and could hold: counted in pieces of work, and put into words.

Machines that Ray drains do not count: Ray places nothing on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import ray

from cluster.placement import ACCELERATOR, Placement
from cluster.session import PRIVATE_RAY, draining_nodes

Amounts: TypeAlias = Mapping[str, float]
"""Ray's names of resources to amounts: CPUs, GPUs, bytes of memory."""

GIB = 1024**3
SLACK = 1e-9
"""Ray counts ten thousandths of a CPU: 0.3 holds three times 0.1, which as floats it does not."""


def whole_machines(placement: Placement) -> list[Amounts]:
    """What each machine has that work may be placed on, whatever runs there now."""
    return list(_machines(placement).values())


def free_machines(placement: Placement) -> list[Amounts]:
    """What each of these machines has left now."""
    allowed = _machines(placement)
    free: Mapping[str, Amounts] = ray._private.state.state.available_resources_per_node()
    return [amounts for node, amounts in free.items() if node in allowed]


def _machines(placement: Placement) -> dict[str, Amounts]:
    """What each machine has on which this work may be placed, by the id of its Ray node."""
    going = draining_nodes()
    return {
        node["NodeID"]: node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in going and placement.allows(node["Labels"])
    }


def room(machines: Iterable[Amounts], each: Amounts) -> int:
    """How many times `each` fits on these machines."""
    wanted = {name: amount for name, amount in each.items() if amount}
    return sum(
        min(int(machine.get(name, 0.0) / amount + SLACK) for name, amount in wanted.items()) for machine in machines
    )


def is_private_ray() -> bool:
    """Whether this Ray was started for the run, on one machine: no other will ever join it."""
    return os.environ.get(PRIVATE_RAY) == "1"


def limits() -> Amounts | None:
    """The most that the whole cluster may ever have, by resource; None where the cluster does not say."""
    most: Amounts | None = ray._private.state.state.get_max_resources_from_cluster_config()
    return most


def in_words(amounts: Amounts) -> str:
    """`12 CPUs, 1 GPU and 4 GiB`; a resource of which there is nothing is named: `2 CPUs and no GPU`."""
    named = [_named(name, amount) for name, amount in amounts.items()]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def holdings(machines: Sequence[Amounts], each: Amounts) -> str:
    """What machines have of the resources that `each` names: `16 CPUs and no GPU on 1 machine`."""
    total = {name: sum(machine.get(name, 0.0) for machine in machines) for name in each}
    return f"{in_words(total)} on {_counted(len(machines), 'machine')}"


def largest(machines: Sequence[Amounts], each: Amounts) -> Amounts:
    """The most that any machine has of each resource that `each` names."""
    return {name: max((machine.get(name, 0.0) for machine in machines), default=0.0) for name in each}


def _named(resource: str, amount: float) -> str:
    if resource == "memory":
        return f"{amount / GIB:.3g} GiB of memory" if amount else "no memory"
    if resource.startswith(ACCELERATOR):
        return f"{'an' if amount else 'no'} accelerator {resource.removeprefix(ACCELERATOR)}"
    return _counted(amount, resource)


def _counted(amount: float, noun: str) -> str:
    """`1 machine`, `0.5 CPUs`, `no GPU`."""
    return f"no {noun}" if not amount else f"{amount:g} {noun}{'' if amount == 1 else 's'}"
