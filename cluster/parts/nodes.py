"""The nodes of the cluster as a phase sees them: which live, which could hold one of its parts, how many at once.

A snapshot that is read again every few seconds: with many nodes Ray takes milliseconds to list them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import ray

from cluster.machines.capacity import room
from cluster.placement import Placed
from cluster.session import draining_nodes

SECONDS_BETWEEN_LOOKS: Final = 2.0


@dataclass(frozen=True)
class RayNode:
    """A living node."""

    id: str
    host: str
    resources: Mapping[str, float]
    """All that the node has, whether in use or not: `CPU`, `GPU`, `memory` in bytes, and others by name."""
    is_draining: bool = False

    @property
    def name(self) -> str:
        """The node for people: `worker-7 (node 3f2a81c0)`; several nodes of a test share one host."""
        return f"{self.host} (node {self.id[:8]})"


class NodeWatch:
    """The living nodes, seen by work that wants some resources of each."""

    def __init__(self, part: Placed) -> None:
        """`part` says what one part takes of a node, and on which nodes it may run."""
        self.part, self.wanted = part, part.amounts()
        self.living: dict[str, RayNode] = {}
        self.allowed: list[RayNode] = []
        """Those of them whose labels allow a part."""
        self.large_enough: frozenset[str] = frozenset()
        """Ids of the living nodes that could hold a part."""
        self.able: frozenset[str] = frozenset()
        """Those of them that are not about to be taken away."""
        self.num_at_once = 0
        """Parts that these nodes can run at once."""
        self._looked_at_seconds = -math.inf
        self._names: dict[str, str] = {}

    def look(self, max_age_seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
        """Read the nodes again if the last look is older than this."""
        now_seconds = time.monotonic()
        if now_seconds - self._looked_at_seconds < max_age_seconds:
            return
        self._looked_at_seconds = now_seconds
        draining = draining_nodes()
        alive = [one for one in ray.nodes() if one["Alive"]]
        self.living = {
            one["NodeID"]: RayNode(
                one["NodeID"], one["NodeManagerHostname"], one["Resources"], one["NodeID"] in draining
            )
            for one in alive
        }
        self.allowed = [self.living[one["NodeID"]] for one in alive if self.part.allows(one["Labels"])]
        self._names.update({node.id: node.name for node in self.living.values()})
        holding = {node.id: room([node.resources], self.wanted) for node in self.allowed}
        self.large_enough = frozenset(node for node, number in holding.items() if number)
        self.able = frozenset(node for node in self.large_enough if not self.living[node].is_draining)
        self.num_at_once = sum(holding[node] for node in self.able)

    def is_lost(self, node: str) -> bool:
        """Whether a node is gone, or about to be taken away."""
        seen = self.living.get(node)
        return bool(node) and (seen is None or seen.is_draining)

    def name(self, node: str) -> str:
        """A node for people, also one that is gone."""
        return self._names.get(node, f"node {node[:8]}" if node else "an unknown node")
