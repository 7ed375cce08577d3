"""The demand of a phase, told to the autoscaler at once: 64 machines come together, and not one after the other.

Queued tasks ask for machines too, but only a few are queued beyond what there is room for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cluster.machines.autoscaler import has_autoscaler
from cluster.parts.nodes import NodeWatch

if TYPE_CHECKING:
    from ray.actor import ActorHandle

MAX_PARTS_ASKED_FOR: Final = 1000
"""Most parts that machines are asked for at once."""
SECONDS_BETWEEN_LOOKS: Final = 2.0
SECONDS_BETWEEN_REFRESHES: Final = 30.0
"""How often it is looked whether another run on the cluster was killed, whose demand still stands."""
PATIENCE_SECONDS: Final = 600.0
"""How long more machines are asked for while none comes. Ray keeps the last request of a driver that was killed, so it
must not stand for the time of a whole phase; those machines that came are kept by the parts that run there."""


class PhaseDemand:
    """What one phase asks the autoscaler for, through the board, which adds up phases and runs."""

    def __init__(self, key: str, nodes: NodeWatch, max_parallel: int | None, board: ActorHandle) -> None:
        """`key` is the name of the phase on the board."""
        self._key = key
        self._nodes = nodes
        self._bound = min(max_parallel or MAX_PARTS_ASKED_FOR, MAX_PARTS_ASKED_FOR)
        self._board = board
        self._told = 0
        self._room = -1
        self._changed_at_seconds = -math.inf
        self._look_at_seconds = -math.inf
        self._refresh_at_seconds = -math.inf

    def look(self, num_left: int, now: float) -> None:
        """Ask for as many parts as could run at once, while there is less room than that and room has changed lately.

        `num_left` are the parts that are not made, `now` is in seconds of the monotonic clock.
        """
        if now < self._look_at_seconds:
            return
        self._look_at_seconds = now + SECONDS_BETWEEN_LOOKS
        if now >= self._refresh_at_seconds and has_autoscaler():
            self._refresh_at_seconds = now + SECONDS_BETWEEN_REFRESHES
            self._board.refresh_demands.remote()
        if self._nodes.num_at_once != self._room:
            self._room = self._nodes.num_at_once
            self._changed_at_seconds = now
        number = min(num_left, self._bound)
        if number <= self._room or now - self._changed_at_seconds > PATIENCE_SECONDS:
            number = 0
        is_much_lower = number <= self._told // 2
        if number != self._told and (number > self._told or is_much_lower) and (number == 0 or has_autoscaler()):
            self._tell(number)

    def end(self) -> None:
        """Ask for nothing any more."""
        if self._told:
            self._tell(0)

    def _tell(self, number: int) -> None:
        self._told = number
        self._board.demand.remote(self._key, self._nodes.wanted, number)
