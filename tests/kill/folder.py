"""A store in which one step after the other is made by processes that may be killed at any moment.

Without a run and without Ray: the process makes what it is told with `cluster.local.make`, and is the first of a group
of its own, so that a kill takes whatever it started along.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from cluster.local import make
from stages.artifacts.manifest import Manifest
from stages.captioning.caption_cache import CACHE_VARIABLE
from stages.store.fault_points import TRACE
from tests.kill.driver import Said
from tests.kill.home import Golden
from tests.kill.ingestion import Ingestion

PASSED = "part.files_written:before"
Recorded: TypeAlias = set[tuple[str, str]]
"""Phase and name of parts that are recorded."""


@dataclass
class Folder(Golden):
    """A store in which one step is made by processes that may be killed."""

    kills: list[float] = field(default_factory=list)
    """Seconds after its begin at which each process was killed."""
    asked_before: Counter[str] = field(default_factory=Counter)
    """What the servers were asked before anything was made here."""

    def make(self, world: Ingestion, step: str, kill_after: float | None = None) -> tuple[int, float]:
        """Make a step; returns how its process ended, and the seconds that it took."""
        trace_in, said_in = self.place()
        (self.folder / "tmp").mkdir(exist_ok=True)
        ready, begun = multiprocessing.Pipe(duplex=False)
        environment = {
            TRACE: str(trace_in),
            CACHE_VARIABLE: str(self.folder / "captions.sqlite"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        process = multiprocessing.get_context("forkserver").Process(
            target=make_there, args=(world, step, self.store, environment, said_in, begun)
        )
        process.start()
        begun.close()
        try:
            ready.recv()
            started = time.monotonic()
            process.join(kill_after)
            if process.exitcode is None:
                assert process.pid is not None
                os.killpg(process.pid, signal.SIGKILL)
                process.join()
            seconds = time.monotonic() - started
        except EOFError:
            raise AssertionError(said_in.read_text()) from None
        assert process.exitcode is not None
        self.keep(Said(process.exitcode, said_in.read_text()), trace_in)
        if process.exitcode == -signal.SIGKILL:
            self.kills.append(seconds)
        return process.exitcode, seconds

    def manifests(self) -> dict[str, Manifest]:
        """Stage to manifest: each stage makes one step here, and without a run a manifest does not name it."""
        found = (path.read_bytes() for path in self.store.glob("artifacts/*/*/manifest.json"))
        return {manifest.stage: manifest for manifest in map(Manifest.model_validate_json, found)}

    def num_begun(self, step: str) -> int:
        """How often a part of a step was begun, over all processes."""
        return sum(self.trace.times(PASSED, self.folder_of(step)).values())

    def recorded(self, folder: str) -> Recorded:
        """Phase and name of the parts that are recorded in an artifact's folder."""
        return {(path.parent.name, path.stem) for path in (self.store / folder / "records").glob("*/*.json")}


def make_there(
    world: Ingestion, step: str, store: Path, environment: dict[str, str], said_in: Path, begun: Connection
) -> None:
    """Make a step in this process, which is the first of a group of its own."""
    os.setsid()
    with said_in.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    bound = world.steps[step]
    begun.send("begun")
    make(bound, store, sources=world.sources)
