"""Who begins an attempt of a run, with which code, and on what machine: facts for people, which decide nothing.

Each is asked of this machine once, when an attempt or a submission is recorded; what cannot be told is left empty.
Imports no Ray and no torch, since recording an attempt must not wait for either.
"""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from cluster.versions import Versions

GIT_TIMEOUT_SECONDS: Final = 5.0
"""Longest time that git is waited for, for all commands: a working tree may lie on a slow network folder."""
NVIDIA_GPUS: Final = Path("/proc/driver/nvidia/gpus")
"""Where the driver of NVIDIA's GPUs lists them, a folder each."""
SOURCES: Final = Path(__file__).parents[2]
"""The folder that our own packages lie in."""


class Origin(BaseModel):
    """Who began something, with which code, on what machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user: str = ""
    """Name of the user whose process it is; '' where the system knows none."""
    commit: str = ""
    """Commit of the git working tree that the pipeline's code lies in, 40 hex digits; '' outside of any."""
    is_changed: bool = False
    """Whether files that git tracks there differed from that commit."""
    versions: Versions | None = None
    """Versions of Python, Ray and this package."""
    system: str = ""
    """Operating system and processor, such as `Linux 6.1 x86_64`."""
    num_cpus: int = 0
    memory_bytes: int = 0
    gpus: tuple[str, ...] = ()
    """GPUs by type with their number, such as `8 x NVIDIA H200`."""

    @classmethod
    def here(cls, code: Path | None = None) -> Origin:
        """That of this process. `code` is the user's file that the pipeline came from; None for a shipped pipeline."""
        import psutil

        commit, is_changed = git_state((code or SOURCES / "pipelines" / "cli.py").parent)
        return cls(
            user=_user(),
            commit=commit,
            is_changed=is_changed,
            versions=Versions.here(),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            num_cpus=os.cpu_count() or 0,
            memory_bytes=psutil.virtual_memory().total,
            gpus=gpus(),
        )

    @property
    def hardware(self) -> str:
        """The machine in words: `16 CPUs, 128 GiB of memory, 1 x NVIDIA H200`."""
        return ", ".join([f"{self.num_cpus} CPUs, {self.memory_bytes / 2**30:.0f} GiB of memory", *self.gpus])


def git_state(folder: Path) -> tuple[str, bool]:
    """Commit of the git working tree that holds `folder`, and whether tracked files differ; ('', False) without one.

    A folder that git does not track, such as an installed package below somebody's project, is of no commit.
    """
    deadline = time.monotonic() + GIT_TIMEOUT_SECONDS
    commit = ""
    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        if not _git(folder, deadline, "ls-files", "--", "."):
            return "", False
        commit = _git(folder, deadline, "rev-parse", "--verify", "HEAD")
        return commit, bool(commit and _git(folder, deadline, "status", "--porcelain", "--untracked-files=no"))
    return commit, False


def gpus(folder: Path = NVIDIA_GPUS) -> tuple[str, ...]:
    """NVIDIA's GPUs of this machine by type, with their number; () where there are none."""
    names: Counter[str] = Counter()
    with suppress(OSError):  # a driver that is being loaded or is in trouble
        for information in sorted(folder.glob("*/information")):
            lines = dict(line.partition(":")[::2] for line in information.read_text(errors="replace").splitlines())
            names[lines.get("Model", "GPU").strip()] += 1
    return tuple(f"{number} x {name}" for name, number in names.items())


def _git(folder: Path, deadline: float, *words: str) -> str:
    """What a git command that changes nothing prints; '' where it fails.

    Without the variables of git: within a hook they name another working tree, whatever the folder.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    left_seconds = max(0.0, deadline - time.monotonic())
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    ran = subprocess.run(command, capture_output=True, timeout=left_seconds, check=False, text=True, env=environment)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name in the environment, and none of the user's number
        return ""
