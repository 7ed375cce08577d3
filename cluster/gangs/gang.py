"""A gang: a worker group of training ranks, which forms again when a rank or machine is lost or about to be taken.

Owns when a gang forms again and when its step ends. The state is in the store: a new group resumes from the last
committed checkpoint, on whatever machines there are then.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import ray

from cluster.board import BoardPost, CheckpointTime, StopPoll, answered, flush
from cluster.failure import Failure
from cluster.gangs.forming import GangDemand, is_placed, nodes_of, reserved
from cluster.gangs.growth import Growth
from cluster.gangs.restarts import Restarts
from cluster.machines.wait import MachineWait
from cluster.rank import GangRank
from cluster.recording_context import starting_ranks
from cluster.site import GangResources
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.run_files import RunFiles, output_kept
from stages.commit.scratch import scratch_folder
from stages.contract import InterruptedRunError, MachineFault, Rank, WarningPosted, carried

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.util.placement_group import PlacementGroup

GPU_ERROR: Final[MachineFault] = "GPU error"
"""A failure by which a rank is the first to fail, though its message may be that of a rank whose peer is gone."""
LOST_PEER_MESSAGES = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "NCCL error")
"""Texts of the RuntimeError that a collective raises when another rank is gone; torch has no class for it."""


@dataclass(frozen=True)
class _RankTask:
    """What is sent to each rank."""

    writer: ArtifactWriter
    resources: GangResources
    rank_main: Callable[[Rank], None]
    board: ActorHandle
    gang: str
    """Name of this worker group on the board and in Ray; each that forms has its own."""


class RankFailedError(Exception):
    """Raised to end a rank whose failure is already on the board."""


class MachineLostError(Exception):
    """A machine of a worker group was lost before all its ranks had begun."""


def run_gang(
    writer: ArtifactWriter,
    rank_main: Callable[[Rank], None],
    resources: GangResources,
    board: ActorHandle,
    rows_per_step: int | None = None,
) -> None:
    """Run `rank_main` in every rank of a worker group; returns once all ranks have returned.

    The group forms again after a drain and after deaths (`restarts.py`). Raises the failure that was reported first, as
    the kind of error it was; `InterruptedRunError` where a stop was asked for before the ranks began; and `StageError`
    once ranks die without making progress or the machines can never come.
    """
    key = f"{writer.step}-{writer.attempt}-".replace("/", "-")
    demand = GangDemand(writer.step, key, resources, rows_per_step)
    gangs = _Gangs(writer, carried(writer.user_file, rank_main, ray.cloudpickle.dumps), demand, board)
    while not gangs.run_next():
        continue


class _Gangs:
    """The worker groups of one step, one after the other."""

    def __init__(
        self, writer: ArtifactWriter, rank_main: Callable[[Rank], None], demand: GangDemand, board: ActorHandle
    ) -> None:
        self._writer, self._rank_main, self._demand, self._board = writer, rank_main, demand, board
        self._post = BoardPost(board)
        self._stop_asked = StopPoll(board)
        self._restarts = Restarts(writer.step, CheckpointRecords(writer.store, writer.folder))

    def run_next(self) -> bool:
        """Form a worker group and wait for its end; returns whether its work is done, and not to be gone on with."""
        gang = f"{self._demand.key}{uuid.uuid4().hex[:8]}"
        wait = MachineWait(self._writer.step, self._post)
        with reserved(self._demand, gang, wait, self._stop_asked) as group:
            nodes = nodes_of(group)
            self._demand = replace(self._demand, has_formed=True)
            death = self._run(gang, group, wait)
        if death is None:
            return True
        failures: list[Failure] = answered(lambda: self._board.failures.remote(gang))
        first = failures[0] if failures else None
        if first is not None and first.kind is InterruptedRunError and self._is_to_form_again(gang):
            return False
        if first is not None:
            if not self._demand.suspects.bears(first, self._demand.resources, self._demand.sizes[0]):
                raise first.error()
            self._demand.suspects.blame(first.node)
        message = self._restarts.after_death(nodes, death, first)
        self._post(WarningPosted(step=self._writer.step, message=message))
        return False

    def _is_to_form_again(self, gang: str) -> bool:
        """Whether the ranks stopped so that another gang can form, and nobody asked the run to stop."""
        if answered(self._board.stop_requested.remote):
            return False
        return bool(answered(lambda: self._board.is_dissolved.remote(gang)))

    def _run(self, gang: str, group: PlacementGroup, wait: MachineWait) -> Exception | None:
        from cluster.gangs.trainer import run_worker_group  # Ray Train takes seconds to import

        num_ranks = group.bundle_count
        resources = self._demand.resources.of_size(num_ranks)
        if len(self._demand.sizes) > 1:
            message = f"training runs on {num_ranks} ranks, of the {self._demand.words()} that the site asks for"
            self._post(WarningPosted(step=self._writer.step, message=message))
        self._post(starting_ranks(self._writer.step, num_ranks))
        task = _RankTask(self._writer, resources, self._rank_main, self._board, gang)
        watch = _Watch(gang, group, wait, self._board, self._stop_asked, Growth(self._demand, num_ranks))
        try:
            return run_worker_group(
                _enter_rank,
                {"task": task},
                self._demand.each,
                group,
                name=gang,
                collective_timeout=resources.layout.collective_timeout,
                look=watch,
            )
        except MachineLostError as death:
            return death
        finally:
            watch.growth.close()


@dataclass
class _Watch:
    """Looks after a worker group: until all its ranks have begun, and then for machines for a larger one."""

    gang: str
    group: PlacementGroup
    wait: MachineWait
    board: ActorHandle
    stop_asked: Callable[[], bool]
    growth: Growth
    has_begun: bool = False

    def __call__(self) -> None:
        if self.has_begun:
            self._grow()
            return
        self.has_begun = answered(lambda: self.board.num_joined.remote(self.gang)) >= self.group.bundle_count
        if self.has_begun:
            self.wait.over()
        elif self.stop_asked():
            raise InterruptedRunError(f"step {self.wait.step!r}: stopped before its ranks had begun")
        elif not is_placed(self.group):
            raise MachineLostError(f"a machine of worker group {self.gang} was lost before all ranks had begun")

    def _grow(self) -> None:
        size = self.growth.possible_size()
        if size > self.growth.num_ranks:
            message = f"there is room for {size} ranks: training commits at its next step and continues on them"
            self.board.dissolve.remote(self.gang, self.wait.step, message)


def _enter_rank(config: dict[str, Any]) -> None:
    """The training function of Ray Train: one rank, inside its process group."""
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    task: _RankTask = config["task"]
    writer, board = task.writer, task.board
    rank, world_size = get_context().get_world_rank(), get_context().get_world_size()
    board.join.remote(task.gang, ray.get_runtime_context().get_node_id())
    torch.set_num_threads(max(1, int(task.resources.cpus)))
    try:
        files = RunFiles.of(writer)
        with output_kept(files, f"rank{rank}"), scratch_folder(f"{writer.step}-rank{rank}") as scratch:
            task.rank_main(
                GangRank(
                    writer=writer,
                    layout=task.resources.layout,
                    rank=rank,
                    world_size=world_size,
                    device=str(get_device()),
                    scratch=scratch,
                    post=BoardPost(board),
                    stop_asked=StopPoll(board, task.gang, writer.step),
                    checkpoint_took=CheckpointTime(board, writer.step),
                )
            )
    except Exception as error:
        node = ray.get_runtime_context().get_node_id()
        failure = Failure.of(error, f"step {writer.step!r}: rank {rank} of {world_size}", node)
        if _is_lost_peer(error) and failure.fault != GPU_ERROR:
            raise
        # Reported before this rank ends: then its peers fail in their next collective, and those failures come second.
        answered(lambda: board.report_failure.remote(task.gang, failure))
        raise RankFailedError(failure.message) from None
    finally:
        flush(board)


def _is_lost_peer(error: BaseException) -> bool:
    """Whether a rank failed only because a peer is gone: by an error, which that peer reported, or by its death."""
    from torch.distributed import DistError

    message = str(error)
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(text in message for text in LOST_PEER_MESSAGES)
    )
