"""A local folder as a store: what its engine leaves to us.

Owns exclusive creates whose bytes are durable before they can be seen, so that a power cut leaves a record whole or
absent, never torn; fsync; and quick reads of small ranges, from files that are kept open where that is asked for.
"""

from __future__ import annotations

import os
import uuid
from functools import lru_cache
from pathlib import Path
from weakref import finalize

MAX_KEPT_OPEN = 256
"""Files that one process keeps open to read ranges of; many systems allow a process 1,024 of all kinds."""


def create_in_folder(root: Path, key: str, data: bytes) -> bool:
    """Whether this call made the object: written beside its place, made durable, then linked to it.

    Over NFS the answer to a link may be lost and the second try refused: the number of links tells who won.
    """
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}#{uuid.uuid4().int}")  # a name that listings of the engine leave out
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
    sync_folders(path.parent, root)
    return True


def make_durable(root: Path, key: str) -> None:
    """fsync a file that is in its place and every folder up to the root: a power cut would undo it."""
    _sync(root / key)
    sync_folders((root / key).parent, root)


def sync_folders(folder: Path, root: Path) -> None:
    """fsync a folder and those above it, up to the root: the names in them are then there to stay."""
    for place in (folder, *folder.parents):
        _sync(place)
        if place == root:
            break


class _OpenFile:
    """A file open for reading, closed when nobody holds it any more: no thread reads from one that was closed."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        finalize(self, os.close, self._handle)

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._handle, length, start)


_kept_open = lru_cache(maxsize=MAX_KEPT_OPEN)(_OpenFile)
close_kept_files = _kept_open.cache_clear
"""Let go of all files that were kept open: the next read finds what lies in their places now."""


def read_range_of(path: str, start: int, length: int, *, keep_open: bool) -> bytes:
    """At most `length` bytes of a file, without the engine, which takes ten times as long over small ranges."""
    if keep_open:
        return _kept_open(path).read(start, length)
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.pread(handle, length, start)
    finally:
        os.close(handle)


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
