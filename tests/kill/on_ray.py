"""The command line on real Ray, in a process of its own, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kill.driver import Said
from tests.kill.home import Golden, Trace
from tests.kill.small import WORDS

ROOT = Path(__file__).parents[2]
MARK = "NEO_TEST_HOME"
WAIT_SECONDS = 600.0
GONE_SECONDS = 60.0
GANG = """
[gang]
num_ranks = 2
zero_stage = 2

[stages.tune_end_to_end.gang]
zero_stage = 3
"""
TWO_RANKS = f"""
code = "local"

[ray]
address = "{{address}}"
{GANG}"""


@dataclass
class Driver:
    """A command under way."""

    home: "RayHome"
    process: subprocess.Popen[bytes]
    said_in: Path
    trace_in: Path

    def trace(self) -> Trace:
        """What its processes have passed so far."""
        return Trace.read(self.trace_in)

    def wait(self) -> Said:
        """Wait for its end, and keep what it said."""
        code = self.process.wait(WAIT_SECONDS)
        return self.home.keep(Said(code, self.said_in.read_text()), self.trace_in)

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            assert self.process.poll() is None, self.said_in.read_text()
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL; returns once nothing of it is left."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        i10_nothing_is_left_of_it(self.home)
        self.wait()


@dataclass
class RayHome(Golden):
    """A home whose commands run on Ray: on one of their own, or on the cluster at an address."""

    address: str = "local"
    recipe: Sequence[str] = WORDS
    """What `neo run` is typed with."""

    def start(self, *words: str, fault: str = "", once: bool = False, **environment: str) -> Driver:
        """Start `neo run` of the pipeline without waiting for it. `once`: the fault occurs in only one process."""
        self.resources = TWO_RANKS.format(address=self.address)
        trace_in, said_in = self.place()
        environment |= {"NEO_FAULT_TRACE": str(trace_in), MARK: str(self.folder)}
        environment |= {"NEO_FAULT": fault} if fault else {}
        environment |= {"NEO_FAULT_ONCE": str(self.folder / "once")} if once else {}
        with said_in.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", "run", *self.recipe, *words, "--site", str(self.site)],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Driver(self, process, said_in, trace_in)

    def run(self, *words: str, **asked: Any) -> Said:
        return self.start(*words, **asked).wait()

    def processes(self) -> list[int]:
        """All living processes that commands typed here started, down to the last."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.folder}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


def i10_nothing_is_left_of_it(home: RayHome) -> None:
    """No process that a command started outlives it."""
    deadline = time.monotonic() + GONE_SECONDS
    while home.processes():
        assert time.monotonic() < deadline, home.processes()
        time.sleep(0.1)
