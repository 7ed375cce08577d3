"""A gang: a worker group of training ranks, run by Ray Train and restarted here when a rank or machine dies.

Ray Train starts the processes, forms the process group and detects deaths. It keeps no state for us: no reports, no
checkpoints, no restarts of its own. A new group resumes from the last committed checkpoint in the store.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from cluster.board import BoardPost, StopPoll, flush
from cluster.failure import Failure
from cluster.rank import GangRank
from cluster.site import GangResources
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.scratch import scratch_folder
from stages.contract import Rank, StageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

RESTARTS_AFTER_DEATHS = 2
"""Restarts of a worker group after the process or the machine of a rank died."""
RESTARTS_WHILE_STARTING = 2
"""Restarts by Ray Train itself, of a worker group whose processes died before any rank began."""
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
    """Name of this worker group on the board and in Ray Train; each restart has its own."""


class RankFailedError(Exception):
    """Raised to end a rank whose failure is already on the board."""


def run_gang(
    writer: ArtifactWriter, rank_main: Callable[[Rank], None], resources: GangResources, board: ActorHandle
) -> None:
    """Run `rank_main` in every rank of a worker group; returns once all ranks have returned.

    Raises the failure that was reported first, as the kind of error it was, and `StageError` once ranks have died
    `1 + RESTARTS_AFTER_DEATHS` times.
    """
    for _ in range(1 + RESTARTS_AFTER_DEATHS):
        gang = f"{writer.step}-{writer.attempt}-{uuid.uuid4().hex[:8]}".replace("/", "-")
        death = _run_worker_group(_RankTask(writer, resources, rank_main, board, gang))
        if death is None:
            return
        failures: list[Failure] = ray.get(board.failures.remote(gang))
        if failures:
            raise failures[0].error()
    raise StageError(
        f"step {writer.step!r}: its ranks died {1 + RESTARTS_AFTER_DEATHS} times; the machines lack memory or fail, or "
        "a library the ranks call crashes. What was committed is kept: run the same command again to continue from it"
    ) from death


def _run_worker_group(task: _RankTask) -> Exception | None:
    """Start one worker group and wait for its end; returns the error that ended it early, or None."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    wanted = task.resources
    per_rank: dict[str, float] = {"CPU": wanted.cpus, "GPU": wanted.gpus, "memory": wanted.memory_bytes or 0}
    with tempfile.TemporaryDirectory(prefix="neo-gang-") as folder:
        trainer = TorchTrainer(
            _enter_rank,
            train_loop_config={"task": task},
            scaling_config=ScalingConfig(
                num_workers=wanted.num_ranks,
                use_gpu=wanted.gpus > 0,
                resources_per_worker={name: amount for name, amount in per_rank.items() if amount},
            ),
            run_config=RunConfig(
                name=task.gang,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=RESTARTS_WHILE_STARTING),
            ),
        )
        ended_by: Exception | None = None
        try:
            trainer.fit()
        except (TrainingFailedError, RayError) as death:
            ended_by = death
        return ended_by


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
        with scratch_folder(f"{writer.step}-rank{rank}") as scratch:
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
                )
            )
    except Exception as error:
        if _is_lost_peer(error):
            raise
        failure = Failure.of(error, f"step {writer.step!r}: rank {rank} of {world_size}")
        # Reported before this rank ends: then its peers fail in their next collective, and those failures come second.
        ray.get(board.report_failure.remote(task.gang, failure))
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
