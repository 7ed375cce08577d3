"""A small process that outlives the driver of a local Ray and clears up behind it, however it ended.

    python reaper.py HOME FOLDER...

It waits until its standard input closes, which the kernel does when the driver dies. Then it kills every process that
has `RAY_TMPDIR=HOME` in its environment, which all of that Ray's processes and theirs inherit, and removes the folders.
Ray's own means are too slow (its agents stay for a minute after a `kill -9`) or cost too much (its subreaper makes
every worker ignore SIGCHLD, and then no subprocess has an exit status). Imports only what starts in an instant.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

MOST_ROUNDS = 100
SECONDS_BETWEEN_ROUNDS = 0.1


def processes_of(home: str) -> list[int]:
    """The living processes of the Ray whose private folder is `home`."""
    mark = f"RAY_TMPDIR={home}\0".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208, pathlib takes longer to import than all the rest
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/environ", "rb") as environment:  # noqa: PTH123
                if mark in environment.read():
                    found.append(int(name))
    return found


def clear_up(home: str, folders: Sequence[str]) -> None:
    """Kill until nobody is left to kill, since a dying parent may still have started a child; then remove."""
    for _ in range(MOST_ROUNDS):
        left = processes_of(home)
        if not left:
            break
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_ROUNDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear_up(sys.argv[1], sys.argv[2:])
