"""Growing: a gang that has fewer ranks than it may have ends at a checkpoint when machines for more have come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ray.util.placement_group import remove_placement_group

from cluster.gangs.forming import GangDemand, is_placed
from cluster.machines.capacity import free_machines, room

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

LOOK_SECONDS = 15.0
"""How often it is looked for free machines. Those count that were free at two looks in a row, as parts of other steps
leave machines free for moments."""


@dataclass
class Growth:
    """Machines for more ranks of one gang: asked for, so that an autoscaler brings them, and looked for."""

    demand: GangDemand
    num_ranks: int
    clock: Callable[[], float] = time.monotonic
    _asked: PlacementGroup | None = None
    _last_seen: int = 0
    _look_at_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._look_at_seconds = self.clock() + self.demand.resources.grow_after_seconds

    def possible_size(self) -> int:
        """The number of ranks that the gang should form again with; its own where there is no room for more.

        Its own as well where more ranks would take as many passes for a step: forming again costs more than it brings.
        """
        most = self.demand.sizes[-1]
        if not self._is_faster(most) or self.clock() < self._look_at_seconds:
            return self.num_ranks
        self._look_at_seconds = self.clock() + LOOK_SECONDS
        if self._asked is None:
            name = f"{self.demand.key}more-{time.time_ns()}"
            self._asked = self.demand.ask_for(most - self.num_ranks, name, self.demand.placement())
        if is_placed(self._asked):
            return most
        seen = self.demand.size_for(self.num_ranks + room(free_machines(self.demand.placement()), self.demand.each))
        was_seen, self._last_seen = self._last_seen, seen
        stays = max(self.num_ranks, min(seen, was_seen))
        return stays if self._is_faster(stays) else self.num_ranks

    def _is_faster(self, num_ranks: int) -> bool:
        before, then = self.demand.num_passes_of(self.num_ranks), self.demand.num_passes_of(num_ranks)
        return num_ranks > self.num_ranks and (before == 0 or then < before)

    def close(self) -> None:
        """No longer ask for more machines."""
        if self._asked is not None:
            remove_placement_group(self._asked)
            self._asked = None
