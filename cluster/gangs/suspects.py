"""Machines whose GPU failed: the next gangs of the step form away from them for a while, where others will do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cluster.machines.capacity import room, whole_machines
from cluster.placement import Placed

NODE_ID_LABEL: Final = "ray.io/node-id"
"""The label that Ray gives to each machine itself: the id of its node."""
AVOIDED_SECONDS: Final = 3600.0
"""How long a machine is avoided for each failure it had: one for an hour, two for two. The blame may be wrong, and a
GPU may be reset or replaced meanwhile."""

PlacedT = TypeVar("PlacedT", bound=Placed)


@dataclass
class SuspectMachines:
    """The Ray nodes on which ranks of one step failed by their GPU."""

    clock: Callable[[], float] = time.monotonic
    _num_failures: Counter[str] = field(default_factory=Counter)
    _avoided_until_seconds: dict[str, float] = field(default_factory=dict)

    def blame(self, node: str) -> None:
        """A rank on this Ray node failed by its GPU."""
        self._num_failures[node] += 1
        self._avoided_until_seconds[node] = self.clock() + AVOIDED_SECONDS * self._num_failures[node]

    def around(self, resources: PlacedT, num_ranks: int) -> PlacedT:
        """`resources` placed on none of these nodes, as far as the other machines hold so many ranks whole.

        Where they do not, the node that would be avoided for the shortest time is used again, then the next.
        """
        avoided = self._avoided()
        while avoided and NODE_ID_LABEL not in resources.labels:
            labels = {**resources.labels, NODE_ID_LABEL: f"!in({', '.join(avoided)})"}
            placed = resources.model_copy(update={"labels": labels})
            if room(whole_machines(placed), placed.amounts()) >= num_ranks:
                return placed
            avoided = avoided[1:]
        return resources

    def _avoided(self) -> list[str]:
        """The nodes that are avoided now, that for the shortest time first."""
        now = self.clock()
        still = {node: until for node, until in self._avoided_until_seconds.items() if until > now}
        return sorted(still, key=lambda node: still[node])
