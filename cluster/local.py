"""Stages without Ray: parts in this process, a worker group (gang) as spawned processes over gloo.

For tests, notebooks and small work: `make(step, store)` makes a step and everything it reads.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import Queue
from queue import Empty
from typing import TypeAlias

from cluster.failure import Failure
from cluster.rank import GangRank
from cluster.recording_context import GatheringContext, starting_ranks
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.make_steps import MadeT, StoreOrPlace, make_steps
from stages.commit.parts import PartWriter
from stages.commit.scratch import scratch_folder
from stages.contract import Event, GangLayout, Part, PartRecord, PartWork, Post, Rank, Step, carried
from stages.origins.pinning import pin_source

Channel: TypeAlias = "Queue[Event | Failure]"
"""What a rank sends to the process that started it."""

SECONDS_BETWEEN_LOOKS = 0.05
START_METHOD = "forkserver"
"""Ranks are forked from a server that has run nothing; what it preloads (torch takes seconds), they need not import."""


@dataclass(frozen=True)
class _RankTask:
    """What travels to the process of a rank."""

    writer: ArtifactWriter
    layout: GangLayout
    rank_main: Callable[[Rank], None]
    channel: Channel
    meeting_point: str
    environment: dict[str, str]
    """That of the process which starts the ranks; the server that forks them has the one of its own start."""


@dataclass
class LocalContext(GatheringContext):
    """Does all of a step's work on this machine."""

    layout: GangLayout

    def make_parts(self, work: PartWork, parts: Sequence[Part], phase: str, keep: Callable[[PartRecord], None]) -> None:
        for part in parts:
            keep(PartWriter(self.writer, self.post).make_part(work, phase, part))

    def gang_layout(self) -> GangLayout:
        return self.layout

    def run_ranks(self, rank_main: Callable[[Rank], None], _: int | None = None, /) -> None:
        """Raises the first failure that a rank reports, with its own kind; a death without one by torch's error."""
        from torch.multiprocessing.spawn import start_processes

        self.post(starting_ranks(self.writer.step, self.layout.num_ranks))
        channel: Channel = get_context(START_METHOD).Queue()
        failures: list[Failure] = []
        sent = carried(self.writer.user_file, rank_main)
        meeting_point = f"tcp://127.0.0.1:{_free_port()}"
        task = _RankTask(self.writer, self.layout, sent, channel, meeting_point, environment=dict(os.environ))
        group = start_processes(
            _enter_rank, args=(task,), nprocs=self.layout.num_ranks, join=False, start_method=START_METHOD
        )
        assert group is not None
        try:
            while not group.join(timeout=SECONDS_BETWEEN_LOOKS):
                failures += self._take(channel)
        except Exception as death:
            failures += self._take(channel)
            raise (failures[0].error() if failures else death) from None
        self._take(channel)

    def _take(self, channel: Channel) -> list[Failure]:
        """Post the events that ranks have sent, and return their failures in the order they came."""
        failures: list[Failure] = []
        while True:
            try:
                sent = channel.get(timeout=SECONDS_BETWEEN_LOOKS)
            except Empty:
                return failures
            if isinstance(sent, Failure):
                failures.append(sent)
            else:
                self.post(sent)


@contextmanager
def local_context(writer: ArtifactWriter, post: Post, layout: GangLayout | None = None) -> Iterator[LocalContext]:
    """A context for one step, with a scratch folder that goes with it."""
    with scratch_folder(writer.step) as scratch:
        yield LocalContext(writer=writer, scratch=scratch, post=post, layout=layout or GangLayout())


def make(
    step: Step[MadeT],
    store: StoreOrPlace,
    *,
    sources: Mapping[str, str | Sequence[str]] | None = None,
    layout: GangLayout | None = None,
    post: Post = lambda _: None,
) -> MadeT:
    """Make a bound step and everything it reads, in this process and without Ray; returns its artifact.

    `store` is a `Store`, or the folder or URL of one; what is committed there is reused. `sources` says for each name
    in the recipes where its files lie: a path or URI, or several; they are pinned as they are now. `layout` is how
    worker groups are run, by default one rank. `post` takes the events. Raises what the stages raise; call it again to
    continue.

        recipe = DownloadPairsRecipe(source=Source("my_urls"))
        pairs = make(download_pairs.bind("pairs", recipe), "my-store", sources={"my_urls": "urls.parquet"})
    """
    pinned = [pin_source(name, uris) for name, uris in (sources or {}).items()]
    return make_steps(step, store, partial(local_context, layout=layout), post, pinned)


def _enter_rank(rank: int, task: _RankTask) -> None:
    os.environ.clear()
    os.environ.update(task.environment)
    import torch.distributed as dist

    writer, layout, num_ranks = task.writer, task.layout, task.layout.num_ranks
    try:
        dist.init_process_group(
            "gloo",
            init_method=task.meeting_point,
            timeout=layout.collective_timeout,
            world_size=num_ranks,
            rank=rank,
        )
        with scratch_folder(f"{writer.step}-rank{rank}") as scratch:
            task.rank_main(
                GangRank(
                    writer=writer,
                    layout=layout,
                    rank=rank,
                    world_size=num_ranks,
                    device="cpu",
                    scratch=scratch,
                    post=task.channel.put,
                    stop_asked=_never,
                )
            )
        dist.destroy_process_group()
    except Exception as error:
        task.channel.put(Failure.of(error, f"step {writer.step!r}: rank {rank} of {num_ranks}"))
        task.channel.close()
        task.channel.join_thread()
        raise


def _never() -> bool:
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
