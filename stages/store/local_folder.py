"""A local folder as a store: what obstore leaves to us.

Owns exclusive creates whose bytes are durable before they can be seen, so that a power cut leaves a record whole or
absent, never torn; fsync; and quick reads of small ranges, from files that are kept open on request.
"""

from __future__ import annotations

import os
import uuid
from functools import lru_cache
from pathlib import Path
from weakref import finalize

MAX_KEPT_OPEN = 256
"""Files that one process keeps open to read ranges of; many systems allow a process 1,024 of all kinds."""


def create_in_folder(root: Path, key: str, data: bytes, *, syncs_name: bool = True) -> bool:
    """Whether this call created the object: written under another name, made durable, then linked to its own.

    Without `syncs_name` a power cut may take the name away again, with its object, until `sync_folders`. Over NFS the
    answer to a link may be lost and the retry refused: two links to the draft mean that this call won.
    """
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}#{uuid.uuid4().int}")  # a name that obstore's listings leave out
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            if draft.stat().st_nlink < 2:
                return False
    finally:
        draft.unlink(missing_ok=True)
    if syncs_name:
        sync_folders(path.parent, root)
    return True


def make_durable(root: Path, key: str) -> None:
    """fsync a file and every folder up to the root: without it, a power cut could undo the write."""
    _sync(root / key)
    sync_folders((root / key).parent, root)


def sync_folders(folder: Path, root: Path) -> None:
    """fsync a folder and those above it, up to the root, which makes the names in them durable."""
    for parent in (folder, *folder.parents):
        _sync(parent)
        if parent == root:
            break


class _OpenFile:
    """A file open for reading, closed with its last reference: no thread reads from a closed one."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        finalize(self, os.close, self._handle)

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._handle, length, start)


_kept_open = lru_cache(maxsize=MAX_KEPT_OPEN)(_OpenFile)
close_kept_files = _kept_open.cache_clear
"""Close all files that were kept open: the next read opens the file that has the name now."""


def read_range_of(path: str, start: int, length: int, *, keep_open: bool) -> bytes:
    """At most `length` bytes of a file, without obstore, which takes ten times as long over small ranges."""
    if keep_open:
        return _kept_open(path).read(start, length)
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.pread(handle, length, start)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
