"""Machines on which a rank failed by their fault, such as a GPU or a full disk: the next gangs of the step form away
from them for a while, where others will do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cluster.failure import Failure
from cluster.machines.capacity import room, whole_machines
from cluster.placement import Placed
from stages.contract import LASTING_FAULTS, MachineFault

NODE_ID_LABEL: Final = "ray.io/node-id"
"""The label that Ray gives to each machine itself: the id of its node."""
BORNE_FAULTS: Final[frozenset[MachineFault]] = frozenset(
    {
        "GPU error",
        "disk full",
        "access denied",
        "input/output error",
        "too many open files or processes",
        "network",
    }
)
"""Faults of one machine. A GPU or host that has too little memory is not among them, as another of its kind would be
the same, nor is the store, which all machines share."""
AVOIDED_SECONDS: Final = 3600.0
"""How long a machine is avoided for each failure it had: one for an hour, two for two. The blame may be wrong, and a
GPU may be reset or replaced meanwhile."""

PlacedT = TypeVar("PlacedT", bound=Placed)


@dataclass
class SuspectMachines:
    """The Ray nodes on which ranks of one step failed by the machine's fault."""

    clock: Callable[[], float] = time.monotonic
    _num_failures: Counter[str] = field(default_factory=Counter)
    _avoided_until_seconds: dict[str, float] = field(default_factory=dict)

    def bears(self, failure: Failure, resources: Placed, num_ranks: int) -> bool:
        """Whether another gang may do better than the one of which a rank failed so.

        It may where the fault was the machine's and passes, as most do, or so many ranks fit on the other machines.
        """
        if failure.fault not in BORNE_FAULTS:
            return False
        return failure.fault not in LASTING_FAULTS or _away_from([failure.node], resources, num_ranks) is not None

    def blame(self, node: str) -> None:
        """A rank on this Ray node failed by the fault of its machine."""
        self._num_failures[node] += 1
        self._avoided_until_seconds[node] = self.clock() + AVOIDED_SECONDS * self._num_failures[node]

    def around(self, resources: PlacedT, num_ranks: int) -> PlacedT:
        """`resources` placed on none of these nodes, as far as the other machines hold so many ranks whole.

        Where they do not, the node that would be avoided for the shortest time is used again, then the next.
        """
        avoided = self._avoided()
        while avoided:
            if (placed := _away_from(avoided, resources, num_ranks)) is not None:
                return placed
            avoided = avoided[1:]
        return resources

    def _avoided(self) -> list[str]:
        """The nodes that are avoided now, that for the shortest time first."""
        now = self.clock()
        still = {node: until for node, until in self._avoided_until_seconds.items() if until > now}
        return sorted(still, key=lambda node: still[node])


def _away_from(nodes: list[str], resources: PlacedT, num_ranks: int) -> PlacedT | None:
    """`resources` placed on none of these nodes; None where the others do not hold so many ranks, or the site itself
    names the nodes."""
    if NODE_ID_LABEL in resources.labels:
        return None
    labels = {**resources.labels, NODE_ID_LABEL: f"!in({', '.join(nodes)})"}
    placed = resources.model_copy(update={"labels": labels})
    return placed if room(whole_machines(placed), placed.amounts()) >= num_ranks else None
