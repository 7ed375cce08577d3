"""`neo` without Ray, in a process that a fault may kill and that starts at once, since it is forked from a warm one.

The one rank of a gang runs in the driver itself: a kill takes everything with it, as the loss of a machine does.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.local import LocalContext
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.scratch import scratch_folder
from stages.contract import GangLayout, Post, Rank

PRELOADED = ["tests.kill.driver", "pipelines.cli", "tests.pipelines.local_graph", "stages.training.loop", "mlflow"]
PRELOADED += ["tests.kill.folder", "skimage.data", "duckdb", "simplejpeg", "uvloop", "PIL.JpegImagePlugin"]
PRELOADED += ["transformers.models.clip.modeling_clip"]
PRELOADED += ["deepspeed.runtime.zero.muon.muon_optimizer", "torch._dynamo", "transformers", "pyarrow.parquet"]
"""What takes seconds to import and starts no thread."""
LAYOUT = GangLayout(num_ranks=1, zero_stage=2)


@dataclass(frozen=True)
class Said:
    """What a command printed, and how its process ended: its exit code, or minus the signal that killed it."""

    code: int
    out: str

    @property
    def last_line(self) -> str:
        return self.out.rstrip().rpartition("\n")[2]


def neo(words: Sequence[str], environment: Mapping[str, str], said_in: Path) -> Said:
    """Type a command and wait until it ends, in success or failure."""
    process = multiprocessing.get_context("forkserver").Process(
        target=_type, args=(list(words), dict(environment), said_in)
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    return Said(process.exitcode, said_in.read_text())


def _type(words: list[str], environment: dict[str, str], said_in: Path) -> None:
    """The command itself, in its process."""
    import pipelines.commands.run
    from pipelines.cli import main
    from tests.pipelines.local_graph import run_graph_locally

    with said_in.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    sys.argv = ["neo", *words]
    pipelines.commands.run.machines = lambda: partial(run_graph_locally, open_context=in_this_process)
    main()


@dataclass
class InThisProcess(LocalContext):
    """Parts and the one rank alike in the driver's process."""

    def run_ranks(self, rank_main: Callable[[Rank], None], _: int | None = None, /) -> None:
        import torch.distributed as dist

        from cluster.rank import GangRank

        if not dist.is_initialized():  # one group for all gangs of this process: DeepSpeed keeps the first it sees
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        rank = GangRank(
            writer=self.writer,
            layout=self.layout,
            rank=0,
            world_size=1,
            device="cpu",
            scratch=self.scratch,
            post=self.post,
            stop_asked=lambda: False,
        )
        rank_main(rank)


@contextmanager
def in_this_process(writer: ArtifactWriter, post: Post) -> Iterator[InThisProcess]:
    with scratch_folder(writer.step) as scratch:
        yield InThisProcess(writer=writer, scratch=scratch, post=post, layout=LAYOUT)
