"""The command line on real Ray, in a process of its own, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kill.driver import Said
from tests.kill.home import Golden, Trace, Typed
from tests.kill.small import WORDS

ROOT = Path(__file__).parents[2]
MARK = "NEO_TEST_HOME"
WAIT_SECONDS = 300.0
GANG = """
[gang]
num_ranks = 2
zero_stage = 2

[stages.tune_end_to_end.gang]
zero_stage = 3
"""


@dataclass
class RayHome(Golden):
    """A home whose commands run on Ray: of their own, or a cluster at an address."""

    address: str = "local"
    recipe: Sequence[str] = WORDS
    """What `neo run` is typed with."""
    num_started: int = 0

    def start(self, *words: str, **environment: str) -> "Driver":
        """Type `neo run` of the recipe, and go on while it runs."""
        number = self.num_started
        self.num_started += 1
        trace = self.folder / "traces" / str(number)
        trace.mkdir(parents=True, exist_ok=True)
        site = self.folder / "site.toml"
        ray = f'code = "local"\n[ray]\naddress = "{self.address}"\n'
        site.write_text(f'store = "{self.store}"\nmlflow = "{self.mlflow}"\n{ray}{GANG}')
        said_in = self.folder / f"said-{number}.txt"
        with said_in.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", "run", *self.recipe, *words, "--site", str(site)],
                cwd=ROOT,
                env=os.environ | {"NEO_FAULT_TRACE": str(trace), MARK: str(self.folder)} | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Driver(self, process, said_in, trace)

    def run(self, *words: str, **environment: str) -> Said:  # type: ignore[override]
        return self.start(*words, **environment).wait()

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


@dataclass
class Driver:
    """A command under way."""

    home: RayHome
    process: subprocess.Popen[bytes]
    said_in: Path
    trace_in: Path

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def trace(self) -> Trace:
        """What its processes have passed so far."""
        return Trace.read(self.trace_in)

    def wait(self) -> Said:
        """Wait for its end, and keep what it said."""
        code = self.process.wait(WAIT_SECONDS)
        said = Said(code, self.said_in.read_text())
        self.home.commands.append(Typed(said, self.trace()))
        return said

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            assert not self.has_ended, self.said_in.read_text()
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.05)

    def kill(self) -> Said:
        """SIGKILL; returns once nothing of it is left."""
        self.process.send_signal(signal.SIGKILL)
        said = self.wait()
        i10_nothing_is_left_of_it(self.home)
        return said


def i10_nothing_is_left_of_it(home: RayHome, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while home.processes():
        assert time.monotonic() < deadline, home.processes()
        time.sleep(0.1)


def once(folder: Path, fault: str) -> Mapping[str, str]:
    """The environment in which one process only meets the fault."""
    return {"NEO_FAULT": fault, "NEO_FAULT_ONCE": str(folder / f"once-{fault.replace(':', '-')}")}
