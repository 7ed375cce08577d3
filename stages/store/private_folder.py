"""Folders below the one for temporary files, which all users of a machine share: each for one user alone."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from stages.store.errors import StoreError


def temporary_folder(name: str) -> Path:
    """The folder of this user with a name, which the number of the user follows; made where it is missing."""
    return private_folder(Path(tempfile.gettempdir()) / f"{name}-{os.geteuid()}")


def private_folder(path: Path) -> Path:
    """Make a folder that is closed to others. Raises `StoreError` where it is another's, or others may write into it.

    A link is refused too: in a folder that all share, another may have put it there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise StoreError(
            f"{path} belongs to another user, or is no folder: remove it, or let TMPDIR name another folder"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(f"others may write into {path}: remove it, or let TMPDIR name another folder")
    return path
