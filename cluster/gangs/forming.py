"""Reserving the machines of a worker group: one placement group, which the step owns until the group has ended.

Owns the waiting: that it is said, that a stop request ends it within seconds, and that what no machine can ever hold is
refused. Ray Train is handed the machines once they are reserved, because it can neither say that it waits nor stop.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from cluster.gangs.suspects import SuspectMachines
from cluster.machines.autoscaler import has_autoscaler
from cluster.machines.capacity import (
    Amounts,
    free_machines,
    holdings,
    in_words,
    is_private_ray,
    largest,
    limits,
    room,
    whole_machines,
)
from cluster.machines.wait import JOINING_SECONDS, MachineWait
from cluster.placement import Placement
from cluster.session import draining_nodes
from cluster.site import GangResources
from stages.contract import InterruptedRunError, StageError

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

POLL_SECONDS = 0.5
"""How often it is looked whether the machines are there, or a stop was asked for."""
SETTLING_SECONDS = 5.0
"""How long a gang that may have fewer ranks waits for the most: Ray gives back what the last gang had after a while."""
SAID_AFTER_SECONDS = 2.0
"""Waiting shorter than this is not worth a word."""


@dataclass(frozen=True)
class GangDemand:
    """What the gang of one step asks the cluster for."""

    step: str
    key: str
    """Begins the name of each of its placement groups, and of no other step's."""
    resources: GangResources
    rows_per_step: int | None = None
    """Rows of an optimizer step, which all ranks share; None where any number of ranks is of use."""
    has_formed: bool = False
    """Whether a gang of the step has formed before: its machines exist, and are waited for if all are lost."""
    suspects: SuspectMachines = field(default_factory=SuspectMachines)
    """Machines that its gangs avoid."""

    @property
    def each(self) -> Amounts:
        """Resources of one rank."""
        return self.resources.amounts()

    @cached_property
    def sizes(self) -> range:
        """The numbers of ranks that the gang may have, the least first: never more than have rows in a step, and whole
        groups of those that share a row."""
        least, most, together = self.resources.num_ranks, self.resources.max_ranks, self.resources.sequence_ranks
        if most is None:
            return range(least, least + 1)
        num_useful = most if self.rows_per_step is None else together * self.num_passes_of(together)
        return range(least, max(least, min(most, num_useful)) + 1, together)

    def num_passes_of(self, num_ranks: int) -> int:
        """Forward passes of each of so many ranks in a step; 0 where it has no number of rows."""
        return -(-(self.rows_per_step or 0) // (num_ranks // self.resources.sequence_ranks * self.resources.micro_rows))

    def size_for(self, num_free: int) -> int:
        """How many of `num_free` ranks the gang takes; the least of its sizes where they are too few."""
        in_groups = num_free - num_free % self.resources.sequence_ranks
        return max(self.sizes[0], min(in_groups, self.sizes[-1]))

    def placement(self) -> GangResources:
        """Where its ranks may be placed now: the site's resources, away from machines on which its ranks failed."""
        return self.suspects.around(self.resources, self.sizes[0])

    def ask_for(self, num_ranks: int, name: str, placement: Placement) -> PlacementGroup:
        """Ask Ray for the machines of this many ranks, with the labels of `placement`; returns at once."""
        bundles, labels = [dict(self.each)] * num_ranks, dict(placement.labels)
        selectors = [labels] * num_ranks if labels else None
        return placement_group(bundles, strategy="PACK", name=name, bundle_label_selector=selectors)

    def words(self) -> str:
        """`8 ranks of 12 CPUs and 1 GPU`; `8 to 16 ranks of ...` where the site leaves a choice."""
        least, most = self.sizes[0], self.sizes[-1]
        number = f"{least}" if least == most else f"{least} to {most}"
        labels = self.resources.label_words()
        where = f" on machines with {labels}" if labels else ""
        return f"{number} rank{'' if most == 1 else 's'} of {in_words(self.each)}{where}"


class _Reservation:
    """The one placement group of a gang at a time."""

    def __init__(self, demand: GangDemand, name: str) -> None:
        self._demand, self._name = demand, name
        self._asked: tuple[int, Placement] | None = None
        self.group: PlacementGroup | None = None

    def ask(self, num_ranks: int, placement: Placement) -> None:
        """Ask for so many ranks' machines of this placement, and no longer for another number or placement."""
        if (num_ranks, placement) != self._asked:
            self.give_back()
            name = f"{self._name}-{num_ranks}-{uuid.uuid4().hex[:8]}"
            self.group = self._demand.ask_for(num_ranks, name, placement)
            self._asked = num_ranks, placement

    def give_back(self) -> None:
        if self.group is not None:
            remove_placement_group(self.group)
            self.group, self._asked = None, None


@contextmanager
def reserved(
    demand: GangDemand, name: str, wait: MachineWait, stop_asked: Callable[[], bool]
) -> Iterator[PlacementGroup]:
    """The machines of one worker group, reserved within this context under `name`, which begins with the demand's key.

    Raises `InterruptedRunError` where a stop is asked for while they are waited for, or the driver's own machine is
    about to be taken away, and `StageError` where they can never come.
    """
    _give_back_left_over(demand)
    reservation = _Reservation(demand, name)
    try:
        yield _placed(demand, reservation, wait, stop_asked)
    finally:
        wait.over()
        reservation.give_back()


def is_placed(group: PlacementGroup) -> bool:
    """Whether all machines of a placement group are reserved, and none of them was lost since."""
    return bool(placement_group_table(group).get("state") == "CREATED")


def nodes_of(group: PlacementGroup) -> frozenset[str]:
    """Ids of the Ray nodes on which a placement group is reserved."""
    return frozenset(placement_group_table(group)["bundles_to_node_id"].values())


def _placed(
    demand: GangDemand, reservation: _Reservation, wait: MachineWait, stop_asked: Callable[[], bool]
) -> PlacementGroup:
    """Ask for as many ranks as fit, at least the least, until the machines are reserved."""
    began_seconds = time.monotonic()
    while reservation.group is None or not is_placed(reservation.group):
        waited_seconds = time.monotonic() - began_seconds
        placement = demand.placement()
        size = (
            demand.size_for(room(free_machines(placement), demand.each)) if len(demand.sizes) > 1 else demand.sizes[0]
        )
        if size == demand.sizes[-1] or waited_seconds >= SETTLING_SECONDS:
            reservation.ask(size, placement)
        if stop_asked():
            raise InterruptedRunError(f"step {demand.step!r}: stopped while it waited for machines: {demand.words()}")
        _check_driver_stays(demand)
        machines, most = whole_machines(placement), limits()
        _refuse_if_hopeless(demand, machines, most, is_final=is_private_ray() or waited_seconds > JOINING_SECONDS)
        if waited_seconds >= SAID_AFTER_SECONDS + (SETTLING_SECONDS if len(demand.sizes) > 1 else 0.0):
            wait.tell(demand.words(), _has(demand, machines, most))
        time.sleep(POLL_SECONDS)
    return reservation.group


def _has(demand: GangDemand, machines: Sequence[Amounts], most: Amounts | None) -> str:
    """What the cluster has, what of it is free where that is why the gang waits, and what it could have."""
    each = demand.each
    has = f"the cluster has {holdings(machines, each)}"
    if room(machines, each) >= demand.sizes[0]:
        num_free = room(free_machines(demand.placement()), each)
        has += f", where now {num_free or 'no'} more rank{'' if num_free == 1 else 's'} would fit"
    return has if most is None else f"{has}; it could have {in_words({name: most.get(name, 0.0) for name in each})}"


def _check_driver_stays(demand: GangDemand) -> None:
    """The controller of a worker group runs beside its step, and a machine that is drained takes no more work."""
    if ray.get_runtime_context().get_node_id() in draining_nodes():
        raise InterruptedRunError(
            f"step {demand.step!r}: the driver's own machine is about to be taken away, so no worker group can form "
            "from here; run the same command again, from a machine that stays"
        )


def _refuse_if_hopeless(
    demand: GangDemand, machines: Sequence[Amounts], most: Amounts | None, *, is_final: bool
) -> None:
    """Raise `StageError` where neither the machines there are nor any that could come will ever hold the gang."""
    each, num_ranks = demand.each, demand.sizes[0]
    if most is not None:
        if too_much := [name for name, amount in each.items() if amount * num_ranks > most.get(name, 0.0)]:
            able = in_words({name: most.get(name, 0.0) for name in too_much})
            raise StageError(f"{_refusal(demand)}; with all machines that it may ever have, the cluster has {able}")
    elif is_private_ray():
        if room(machines, each) < num_ranks:
            raise StageError(f"{_refusal(demand)}; this machine has {in_words(largest(machines, each))}")
    elif is_final and not (demand.has_formed or room(machines, each) or has_autoscaler()):
        raise StageError(f"{_refusal(demand)}; the largest machine has {in_words(largest(machines, each))}")


def _refusal(demand: GangDemand) -> str:
    wanted = demand.resources
    keys = {
        "num_ranks": wanted.num_ranks,
        "cpus": wanted.cpus,
        "gpus": wanted.gpus,
        "memory_bytes": wanted.memory_bytes,
    }
    stated = ", ".join(f"{key} = {value:g}" for key, value in keys.items() if value)
    return f"step {demand.step!r}: [gang] of the site asks for {demand.words()} ({stated}), which no machine can hold"


def _give_back_left_over(demand: GangDemand) -> None:
    """Give back what an earlier process of this step reserved and, because it died, did not."""
    for entry in placement_group_table().values():
        if entry["name"].startswith(demand.key) and entry["state"] != "REMOVED":
            remove_placement_group(ray.util.get_placement_group(entry["name"]))
