"""A SQLite tracker is opened by one process at a time; a server by as many as like."""

import subprocess
import sys
from pathlib import Path

from pipelines.tracking.sqlite import one_process_at_a_time, sqlite_path
from tests.pipelines.conftest import ROOT

ENTER = """
import sys, time
from pipelines.tracking.sqlite import one_process_at_a_time

with one_process_at_a_time(sys.argv[1]), open(sys.argv[2], "a", buffering=1) as diary:
    diary.write("in\\n")
    time.sleep(0.3)
    diary.write("out\\n")
"""


def test_processes_hold_the_lock_one_after_the_other(tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    command = [sys.executable, "-c", ENTER, f"sqlite:///{tmp_path}/new/mlflow.db", str(diary)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert diary.read_text().split() == ["in", "out"] * 3


def test_a_server_needs_no_lock_and_leaves_no_file(tmp_path: Path) -> None:
    assert sqlite_path("http://tracker:5000") is None
    assert sqlite_path("sqlite:////data/mlflow.db") == Path("/data/mlflow.db")
    with one_process_at_a_time("http://tracker:5000"), one_process_at_a_time("http://tracker:5000"):
        assert list(tmp_path.iterdir()) == []
