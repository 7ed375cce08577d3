"""A small process that outlives the driver of a local Ray, and then kills Ray's processes and removes its folders.

    python reaper.py HOME FOLDER...

It waits until its standard input closes, which the kernel does when the driver dies. Then it kills every process that
has a file below HOME open for writing, except a living driver and its children, and removes the folders. All processes
of that Ray write logs there, and their children inherit the open files. Environment variables would not do: a process
that sets its title overwrites them. It walks /proc itself, as it runs without site-packages (`python -I -S`).

Ray's own means are too slow (its agents stay for a minute after a `kill -9`) or cost too much (its subreaper makes
every worker ignore SIGCHLD, and then no subprocess has an exit status).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MAX_ROUNDS = 100
SECONDS_BETWEEN_ROUNDS = 0.1


def writers_below(folder: str, driver: int) -> list[int]:
    """Ids of processes that have a file below `folder` open for writing, except the driver and its children."""
    processes = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [int(process.name) for process in processes if _is_left_over(process, folder, driver)]


def _is_left_over(process: Path, folder: str, driver: int) -> bool:
    with suppress(OSError):  # the process has ended, or belongs to another user
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        if driver not in (int(process.name), parent):
            return any(_is_written(handle, folder, process) for handle in (process / "fd").iterdir())
    return False


def _is_written(handle: Path, folder: str, process: Path) -> bool:
    if not str(handle.readlink()).startswith(f"{folder}/"):
        return False
    facts = (process / "fdinfo" / handle.name).read_text(encoding="ascii").splitlines()
    flags = next(line.split()[1] for line in facts if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def clear_up(home: str, folders: Sequence[str], driver: int) -> None:
    """Kill in rounds until no process is left, as a dying parent may still start a child; then remove the folders."""
    for _ in range(MAX_ROUNDS):
        left = writers_below(home, driver)
        if not left:
            break
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_ROUNDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    started_by = os.getppid()
    sys.stdin.buffer.read()
    clear_up(sys.argv[1], sys.argv[2:], started_by)
