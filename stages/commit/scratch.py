"""Private local folders for work in progress, and the removal of those that dead processes left on this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.store.errors import local_disk_errors

LOCK_SUFFIX = ".lock"
"""Ends the name of the file beside a folder that its owner keeps locked. The kernel lets go of it when the owner dies,
also in another container that sees the same folder, where process ids mean nothing."""


@contextmanager
def scratch_folder(label: str) -> Iterator[Path]:
    """A private local folder, removed on exit, also after an error. Raises `DiskFullError` where its disk is full.

    A process that is killed leaves its folder; the next folder that is made on the machine removes it first.
    """
    temporary = Path(tempfile.gettempdir())
    with local_disk_errors(temporary):
        sweep(temporary)
        folder = Path(tempfile.mkdtemp(prefix=f"neo-{label}-"))
        try:
            with _locked(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(temporary: Path) -> list[Path]:
    """Remove the folders of dead owners in the folder for temporary files; returns them. Others stay."""
    removed = []
    for lock in temporary.glob(f"neo-*{LOCK_SUFFIX}"):
        with suppress(OSError):  # another user's, or gone meanwhile, or its owner lives
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                folder = lock.with_name(lock.name.removesuffix(LOCK_SUFFIX))
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink()
                removed.append(folder)
            finally:
                os.close(held)
    return removed


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Within this context the lock beside a folder is held, by this process and those that it forks."""
    # Locked before it has its name: a sweep of another process never sees it without a holder.
    held, unnamed = tempfile.mkstemp(prefix="neo-unnamed-")
    lock = Path(f"{folder}{LOCK_SUFFIX}")
    try:
        with suppress(OSError):  # a file system without locks: then the folder of a dead owner stays
            fcntl.flock(held, fcntl.LOCK_EX)
            Path(unnamed).rename(lock)
        yield
    finally:
        Path(unnamed).unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        os.close(held)
