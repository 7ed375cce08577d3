"""Parts that wait for machines: it is told, with what they ask for and what there is; the impossible is refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import RayError

from cluster.machines.autoscaler import could_start, has_autoscaler
from cluster.machines.capacity import holdings, in_words, is_private_ray, largest
from cluster.machines.wait import JOINING_SECONDS, MachineWait
from cluster.parts.nodes import NodeWatch
from cluster.parts.part_task import TaskPayload
from stages.contract import Post, StageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

SECONDS_BETWEEN_POLLS: Final = 1.0
SECONDS_UNTIL_TOLD: Final = 10.0
"""Parts are submitted and none runs for this long: they wait for machines. A worker takes seconds to start."""


class PartsWait:
    """Whether the parts of one phase wait for machines."""

    def __init__(self, payload: TaskPayload, nodes: NodeWatch, board: ActorHandle, post: Post) -> None:
        self._payload = payload
        self._nodes = nodes
        self._board = board
        self._wait = MachineWait(payload.step, post)
        self._answer: Any = None
        self._poll_at_seconds = 0.0
        self._idle_since_seconds: float | None = None
        self._was_large_enough = False

    def look(self, num_left: int) -> StageError | None:
        """Tell people when the waiting begins, changes or ends; call it while tasks are in flight.

        `num_left` are the parts that are not made. Returns the error to end with if no machine could ever hold a part.
        """
        now_seconds = time.monotonic()
        num_running = self._num_running(now_seconds)
        if num_running is None:
            return None
        if num_running:
            self.end()
            return None
        if self._idle_since_seconds is None:
            self._idle_since_seconds = now_seconds
        self._was_large_enough = self._was_large_enough or bool(self._nodes.large_enough)
        idle_seconds = now_seconds - self._idle_since_seconds
        if not self._was_large_enough and self._is_impossible(idle_seconds):
            return self._refusal()
        if idle_seconds >= SECONDS_UNTIL_TOLD or not self._nodes.large_enough:
            self._wait.tell(f"{num_left} part{'' if num_left == 1 else 's'} of {self._asked()}", self._has())
        return None

    def end(self) -> None:
        """The parts no longer wait: they run, or the phase ends."""
        self._idle_since_seconds = None
        self._wait.over()

    def _num_running(self, now_seconds: float) -> int | None:
        """The board's newest answer, if one has come since the last call. Polls without waiting for it."""
        number = None
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            with suppress(RayError):
                number = ray.get(self._answer)
            self._answer = None
        if self._answer is None and now_seconds >= self._poll_at_seconds:
            self._poll_at_seconds = now_seconds + SECONDS_BETWEEN_POLLS
            self._answer = self._board.num_running.remote(self._payload.key)
        return number

    def _asked(self) -> str:
        """What one part asks for: `2 CPUs and 4 GiB of memory on machines with neo-group=ingest`."""
        labels = self._nodes.part.label_words()
        return in_words(self._nodes.wanted) + (f" on machines with {labels}" if labels else "")

    def _has(self) -> str:
        """What the cluster has, and whether it could have more."""
        workers = [node.resources for node in self._nodes.allowed if node.resources.get("CPU")]
        more = "; its autoscaler may start more" if has_autoscaler() else ""
        return f"the cluster has {holdings(workers, self._nodes.wanted)}{more}"

    def _is_impossible(self, idle_seconds: float) -> bool:
        """Whether no machine that is there or could be started holds a part. Machines may still be joining at first."""
        if is_private_ray():
            return True
        if has_autoscaler():
            return could_start(self._nodes.wanted) is False
        return idle_seconds > JOINING_SECONDS

    def _refusal(self) -> StageError:
        wanted = self._nodes.wanted
        most = largest([node.resources for node in self._nodes.allowed], wanted)
        return StageError(
            f"step {self._payload.step!r}: a part of phase {self._payload.phase!r} asks for {self._asked()} "
            f"({_site_keys(wanted)} in the site), and no machine of the cluster has that, nor can one be started; the "
            f"most that one has is {in_words(most)}. Ask for less, in [parts] or for this stage or step, or add such a "
            "machine"
        )


def _site_keys(wanted: Mapping[str, float]) -> str:
    keys = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_bytes"}
    whole = {name: int(amount) if amount == int(amount) else amount for name, amount in wanted.items()}
    return ", ".join(f"parts.{keys.get(name, name)} = {amount}" for name, amount in whole.items())
