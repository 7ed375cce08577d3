"""Seconds of the most common commands, beside those of a bare interpreter.

    python -m benchmarks.startup [--repeats 5]

Prints medians. The commands alternate, because the load of a machine changes with time. Asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEO = [sys.executable, "-m", "pipelines.cli"]
AIMS_SECONDS = {"neo --help": 2.0, "neo plan tiny": 2.0, "neo list": 2.0, "neo run, nothing to make": 8.0}
PIPELINE = Path(__file__).parents[1] / "tests" / "pipelines" / "toy_pipeline.py"


def main() -> None:
    """Make a small pipeline, then time the commands on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(prefix="neo-startup-") as folder:
        home = Path(folder)
        os.environ["NEO_HOME"] = folder
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        made = f"{PIPELINE}:data"
        subprocess.run([sys.executable, "-m", "tests.pipelines.local_graph", "run", made], check=True, cwd=home)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "neo --help": [*NEO, "--help"],
            "neo list": [*NEO, "list"],
            "neo plan tiny": [*NEO, "plan", "tiny"],
            "neo run, nothing to make": [*NEO, "run", made],
        }
        times = measure(commands, repeats, home)
    bare_seconds = statistics.median(times["python -c pass"])
    print(f"\n{'command':<26} {'seconds':>8} {'x bare':>8} {'aim':>6}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        aim = f"{AIMS_SECONDS[name]:.0f} s" if name in AIMS_SECONDS else ""
        print(f"{name:<26} {median:>8.2f} {median / bare_seconds:>8.1f} {aim:>6}")


def measure(commands: dict[str, list[str]], repeats: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each command, `repeats` runs each, alternating."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, words in commands.items():
            started = time.perf_counter()
            subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
