"""A module of tests run in a process of its own, with a Ray that no other test shares and nothing left afterwards."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.reaper import clear_up

ROOT = Path(__file__).parents[2]


def run_main(module: str, folder: Path, timeout_seconds: float, **variables: str) -> None:
    """Call `main(folder)` of a module; `variables` are added to its environment. What it started ends with it."""
    main = f"import sys, pathlib, {module} as it; it.main(pathlib.Path(sys.argv[1]))"
    with tempfile.TemporaryDirectory(prefix="neo-own-", dir="/tmp") as home:
        private = {"RAY_TMPDIR": home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", main, str(folder)],
            cwd=ROOT,
            env=os.environ | private | variables,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        clear_up(home, [], os.getpid())
    assert run.returncode == 0, run.stderr
