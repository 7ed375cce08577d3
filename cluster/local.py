"""Stages without Ray: parts in this process, a gang as spawned processes over gloo. For tests and small work."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.rank import GangRank
from stages.contract import GangLayout, NumbersReported, Part, PartRecord, PartWork, Post, Rank
from stages.making import Making, scratch_folder


@dataclass
class LocalContext:
    """Fulfils `stages.contract.StageContext` on this machine."""

    making: Making
    layout: GangLayout
    scratch: Path
    post: Post
    records: list[PartRecord] = field(default_factory=list)

    def spread(self, work: PartWork, *, over: Sequence[Part], phase: str) -> tuple[PartRecord, ...]:
        done = self.making.open_phase(phase, over, self.post)
        made = tuple(done[part.name] or self.making.make_part(work, phase, part, self.post) for part in over)
        self.records.extend(made)
        return made

    def gang(self, rank_main: Callable[[Rank], None]) -> None:
        from torch.multiprocessing.spawn import spawn

        arguments = (self.making, self.layout, _free_port(), rank_main)
        spawn(_enter_rank, args=arguments, nprocs=self.layout.num_ranks, join=True)  # type: ignore[no-untyped-call]
        latest = self.making.latest_checkpoint()
        self.records.extend([latest] if latest else [])

    def report(self, numbers: Mapping[str, float]) -> None:
        self.post(NumbersReported(step=self.making.step, numbers=dict(numbers)))


@contextmanager
def local_context(making: Making, post: Post, layout: GangLayout | None = None) -> Iterator[LocalContext]:
    """A context for one step, with a scratch folder that goes with it."""
    with scratch_folder(making.step) as scratch:
        yield LocalContext(making=making, layout=layout or GangLayout(), scratch=scratch, post=post)


def _enter_rank(rank: int, making: Making, layout: GangLayout, port: int, rank_main: Callable[[Rank], None]) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=layout.num_ranks)
    with scratch_folder(f"{making.step}-rank{rank}") as scratch:
        rank_main(
            GangRank(
                making=making,
                layout=layout,
                rank=rank,
                world_size=layout.num_ranks,
                device="cpu",
                scratch=scratch,
                post=_silent,
                stop_asked=_never,
            )
        )
    dist.destroy_process_group()


def _silent(_event: Any) -> None:
    """Spawned ranks have nobody to post to: tests read records."""


def _never() -> bool:
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
