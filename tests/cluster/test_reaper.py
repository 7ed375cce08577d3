"""The reaper: kills what writes below a folder once its standard input closes, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.session import REAPER

READS = "import sys, time; held = open(sys.argv[1]); time.sleep(600)"
WRITES = "import sys, time; held = open(sys.argv[1], 'a'); time.sleep(600)"
CHILD = "import subprocess as s, sys; print(s.Popen([sys.executable, '-c', *sys.argv[1:]], stdout=s.DEVNULL).pid)"
"""Starts a process that is no child of ours, as Ray's processes are not once their driver is gone."""


def holds(log: Path) -> bool:
    """Whether some process has the file open."""
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if handle.readlink() == log:
                return True
        except OSError:
            continue
    return False


def wait_until(happened: bool, log: Path) -> bool:
    deadline_seconds = time.monotonic() + 30
    while holds(log) is not happened and time.monotonic() < deadline_seconds:
        time.sleep(0.05)
    return holds(log) is happened


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder of two logs: one that a stray process writes, one that another reads."""
    home = tmp_path / "home"
    home.mkdir()
    processes = []
    for name, program in (("written", WRITES), ("read", READS)):
        (home / name).touch()
        command = [sys.executable, "-c", CHILD, program, str(home / name)]
        processes.append(int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        assert wait_until(True, home / name)
    yield home
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_once_its_input_closes_writers_are_killed_and_folders_removed(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(REAPER), str(home), str(tmp_path / "scratch")]
    (tmp_path / "scratch").mkdir()
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE)
    time.sleep(0.5)
    assert holds(home / "written"), "it waits for its input to close"
    assert reaper.stdin is not None
    reaper.stdin.close()
    assert reaper.wait(30) == 0
    assert wait_until(False, home / "written")
    assert holds(home / "read"), "it kills nobody who only reads"
    assert home.is_dir() and not (tmp_path / "scratch").exists()
