"""What is asked of Ray for the parts of a step, and for the step itself, on two nodes of one machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.reaper import clear_up
from tests.cluster.two_nodes import MIB

ROOT = Path(__file__).parents[2]
MAIN = "import sys, pathlib, tests.cluster.two_nodes as it; it.main(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What the driver, the step and its part found out about where they run."""
    folder = tmp_path_factory.mktemp("two_nodes")
    with tempfile.TemporaryDirectory(prefix="neo-two-", dir="/tmp") as home:
        private = {"RAY_TMPDIR": home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32, "PYTHONPATH": str(ROOT)}
        private["RAY_scheduler_avoid_gpu_nodes"] = "0"  # else no step would run there, asked for or not
        run = subprocess.run(
            [sys.executable, "-c", MAIN, str(folder)],
            cwd=ROOT,
            env=os.environ | private,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        clear_up(home, [], os.getpid())
    assert run.returncode == 0, run.stderr
    yield {name: json.loads((folder / f"{name}.json").read_text()) for name in ("driver", "step", "part")}


def test_a_part_is_granted_the_cpus_gpus_and_memory_of_the_site(told: dict[str, dict[str, Any]]) -> None:
    assert told["part"]["granted"] == {"CPU": 0.5, "GPU": 0.25, "memory": float(64 * MIB)}


def test_a_part_runs_where_its_gpu_is(told: dict[str, dict[str, Any]]) -> None:
    assert told["part"]["node"] != told["driver"]["node"]


def test_a_step_takes_no_cpu_and_stays_on_the_drivers_machine(told: dict[str, dict[str, Any]]) -> None:
    assert told["step"]["granted"] == {}
    assert told["step"]["node"] == told["driver"]["node"]
