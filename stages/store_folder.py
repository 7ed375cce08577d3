"""A local folder as a store: what its engine leaves to us.

Owns exclusive creates whose bytes are durable before they can be seen, so that a power cut leaves a record whole or
absent, never torn; fsync; and quick reads of small ranges.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path


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


def read_range_of(path: Path, start: int, length: int) -> bytes:
    """At most `length` bytes of a file, without the engine, which takes ten times as long over small ranges."""
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
