"""The machines of a site for work that is no step, such as an audit: the same map over parts, with nothing recorded.

What a part returns travels to the caller, who keeps what is to survive. Placed, tried again, waiting and told like the
parts of a step; by the resources of the stage whose name the work is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

from cluster.board import open_board
from cluster.parts.part_task import PhaseWork, TaskPayload
from cluster.parts.spread import Spread
from cluster.session import ray_session
from cluster.site import Site
from stages.contract import Part, Post

if TYPE_CHECKING:
    from ray.actor import ActorHandle

GRACE_SECONDS = 20.0
"""How long parts may go on after a stop was asked for. They are told of it, and should return what they have."""


@dataclass(frozen=True)
class Machines:
    """The machines of a site, while a Ray session with them is open."""

    site: Site
    name: str
    """What the work is, such as `audit`: for messages, and for `[stages.audit.parts]` in the site."""
    board: ActorHandle
    stop: Flag
    """Once it is set, no part begins, and those that run have `GRACE_SECONDS` to return."""

    def each(
        self, work: PhaseWork, parts: Sequence[Part], *, phase: str, keep: Callable[[Part, Any], None], post: Post
    ) -> None:
        """`work` of each part, on any of the machines; `keep` gets each part with what it returned, as it comes.

        `post` gets what people should be told: waiting for machines, machines that fail. Raises `StageError` where a
        part fails, and `InterruptedRunError` where parts are left because of a stop.
        """
        resources = self.site.resources(stage=self.name, step=self.name).of_phase(phase)
        Spread(
            TaskPayload(self.name, phase, work),
            parts,
            resources=resources,
            board=self.board,
            post=post,
            stop_asked=self._stop_asked,
            grace_seconds=GRACE_SECONDS,
        ).make(keep)

    def _stop_asked(self) -> bool:
        if self.stop.is_set():
            self.board.request_stop.remote()
        return self.stop.is_set()


@contextmanager
def machines_of(site: Site, name: str) -> Iterator[Machines]:
    """Connect to the machines of a site. Raises `SessionError` where there is no Ray."""
    with ray_session(site), open_board() as board:
        yield Machines(site, name, board, Flag())
