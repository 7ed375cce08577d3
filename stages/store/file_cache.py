"""Copies of an object store's files on this machine: shared by its processes, and bounded in bytes.

Those used least recently go first. Who uses a copy holds a shared lock on it, who fills one an exclusive lock on its
draft, and the kernel lets go of both when a process dies: nothing is in use by the dead. Names change, and copies are
removed, only under the lock of the index, a small file with the sum of all sizes. A copy is counted there before its
first byte is written, so a kill at any instant leaves the sum too high, never too low, until it is counted anew.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from stages.store.errors import StoreError, local_disk_errors
from stages.store.private_folder import private_folder

LIMIT_VARIABLE: Final = "NEO_CACHE_BYTES"
"""Environment variable with the most bytes that the copies on a machine may have together."""
SHARE_OF_DISK: Final = 0.2
"""The most of the whole disk that copies take where that variable is not set."""
SHARE_OF_ROOM: Final = 0.5
"""The most that copies take of what is free on the disk and what they have already, where it is not set."""
SHARE_KEPT: Final = 0.9
"""Eviction goes down to this share of the limit, so that not each new copy has to count all others."""
STALLED_SECONDS: Final = 120.0
"""A draft that did not grow for this long is not waited for: its process may be stopped."""
POLL_SECONDS: Final = 0.05
INDEX: Final = "index.json"
DRAFT: Final = ".draft"

logger = logging.getLogger(__name__)


@dataclass
class _Index:
    """What the index says, in the hands of the one process that has locked it."""

    folder: Path
    limit_bytes: int | None
    num_bytes: int | None = None
    """The sum of all copies and of those being filled, or more; None where it has to be counted."""
    was_told: bool = False
    """Whether people were told that the cache is over its limit, and it has been since."""

    @classmethod
    @contextmanager
    def locked(cls, folder: Path, limit_bytes: int | None) -> Iterator[_Index]:
        """The index of a folder, which no other process reads or changes within this context; written at its end."""
        handle = os.open(folder / INDEX, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            before = os.pread(handle, 1024, 0)
            index = cls(folder, limit_bytes)
            with suppress(ValueError, TypeError):  # new, or torn
                index = cls(folder, limit_bytes, **json.loads(before))
            try:
                yield index
            finally:
                after = json.dumps({"num_bytes": index.num_bytes, "was_told": index.was_told}).encode()
                if after != before:
                    os.truncate(handle, 0)
                    os.pwrite(handle, after, 0)
        finally:
            os.close(handle)

    def make_room(self, wanted_bytes: int, own_draft: Path) -> None:
        """Remove what was used least recently and is not in use, until the limit holds; say once where it cannot."""
        limit_bytes = self._limit()
        if self.num_bytes is None or self.num_bytes + wanted_bytes > limit_bytes:
            self.num_bytes = self._evict(wanted_bytes, limit_bytes, own_draft)
        self.num_bytes += wanted_bytes
        is_over = self.num_bytes > limit_bytes
        if is_over and not self.was_told:
            logger.warning(
                "the copies of the store's files in %s take %.2f GB, more than their limit of %.2f GB, because living "
                "processes use them; set %s, or let TMPDIR name a larger disk",
                *(self.folder, self.num_bytes / 1e9, limit_bytes / 1e9, LIMIT_VARIABLE),
            )
        self.was_told = is_over

    def _evict(self, wanted_bytes: int, limit_bytes: float, own_draft: Path) -> int:
        """Remove what the dead left, then the copies used least recently; returns the bytes that are left."""
        copies, num_bytes = [], 0
        for entry in os.scandir(self.folder):
            path, found = Path(entry.path), entry.stat()
            if entry.name == INDEX or path == own_draft or (entry.name.endswith(DRAFT) and _removed(path)):
                continue
            num_bytes += found.st_size
            if not entry.name.endswith(DRAFT):
                copies.append((found.st_mtime_ns, found.st_size, path))
        if num_bytes + wanted_bytes <= limit_bytes:
            return num_bytes
        for _, size_bytes, path in sorted(copies):
            if num_bytes + wanted_bytes <= SHARE_KEPT * limit_bytes:
                break
            num_bytes -= size_bytes if _removed(path) else 0
        return num_bytes

    def _limit(self) -> float:
        if self.limit_bytes is not None:
            return self.limit_bytes
        text = os.environ.get(LIMIT_VARIABLE, "")
        if text:
            if not text.isdecimal():
                raise StoreError(f"{LIMIT_VARIABLE} = {text!r} is no number of bytes; write it as in 50000000000")
            return int(text)
        disk = shutil.disk_usage(self.folder)
        return min(SHARE_OF_DISK * disk.total, SHARE_OF_ROOM * (disk.free + (self.num_bytes or 0)))


class FileCache:
    """Copies in one folder, each under a name that stands for its content."""

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        """`limit_bytes` stands in the place of the environment's limit and the one relative to the disk."""
        self.folder = folder
        self._limit_bytes = limit_bytes

    @contextmanager
    def file(self, name: str, size_bytes: int, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """The copy `name`, which no process removes within this context. `fill` writes it where there is none.

        Where another process fills it, that is waited for. Raises `DiskFullError`, and what `fill` raises.
        """
        if not self._has_locks():
            with _private_copy(self.folder, fill) as path:
                yield path
            return
        with local_disk_errors(self.folder):
            handle = self._in_use(name, size_bytes, fill)
        try:
            yield self.folder / name
        finally:
            os.close(handle)

    def _in_use(self, name: str, size_bytes: int, fill: Callable[[BinaryIO], None]) -> int:
        """A file handle of the copy, with a shared lock on it."""
        while True:
            with self._index() as index:
                handle = self._opened(name, size_bytes, index)
                draft = self._draft(name, size_bytes, index) if handle is None else None
            if handle is None and draft is not None:
                handle = self._filled(name, draft, fill)
            if handle is not None:
                return handle
            time.sleep(POLL_SECONDS)

    def _opened(self, name: str, size_bytes: int, index: _Index) -> int | None:
        """The copy, if there is one of that size. One of another size was cut short, as by a power failure."""
        path = self.folder / name
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        if os.fstat(handle).st_size != size_bytes and _try_lock(handle, fcntl.LOCK_EX):
            path.unlink()
            os.close(handle)
            index.num_bytes = None
            return None
        _try_lock(handle, fcntl.LOCK_SH)
        os.utime(handle)
        return handle

    def _draft(self, name: str, size_bytes: int, index: _Index) -> int | None:
        """A draft to be filled by this process, with room for it; None where another process fills it."""
        path = self.folder / f"{name}{DRAFT}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(handle, fcntl.LOCK_EX):
            if time.time() - os.fstat(handle).st_mtime > STALLED_SECONDS:
                path.unlink()  # the next round makes a draft of its own
            os.close(handle)
            return None
        try:
            index.make_room(size_bytes, path)
            # Made as long as it will be, so that a process that counts meanwhile counts all of it.
            os.truncate(handle, size_bytes)
        except BaseException:
            path.unlink()
            os.close(handle)
            raise
        return handle

    def _filled(self, name: str, draft: int, fill: Callable[[BinaryIO], None]) -> int | None:
        """The copy that this draft became; None where another process took the stalled draft's place."""
        path = self.folder / f"{name}{DRAFT}"
        try:
            with os.fdopen(os.dup(draft), "wb") as file:
                fill(file)
                file.truncate()  # an object may be shorter than it was said to be
        except BaseException:
            with self._index() as index:
                if _is_named(path, draft):
                    path.unlink()
                index.num_bytes = None
            os.close(draft)
            raise
        with self._index():
            if _is_named(path, draft):
                path.rename(self.folder / name)
                _try_lock(draft, fcntl.LOCK_SH)
                return draft
        os.close(draft)
        return None

    def _index(self) -> AbstractContextManager[_Index]:
        return _Index.locked(self.folder, self._limit_bytes)

    def _has_locks(self) -> bool:
        """Make the folder; whether its file system knows locks."""
        private_folder(self.folder)
        handle = os.open(self.folder / INDEX, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_SH)
                return True
            return False
        finally:
            os.close(handle)


def machine_cache() -> FileCache:
    """The cache of this user on this machine, on the disk of temporary files."""
    return FileCache(Path(tempfile.gettempdir()) / f"neo-cache-{os.geteuid()}")


@contextmanager
def _private_copy(folder: Path, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
    """A copy that is removed after use: without locks, nobody knows whether another process uses it too."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        with local_disk_errors(folder):
            fill(cast(BinaryIO, file))
            file.flush()
        yield Path(file.name)


def _try_lock(handle: int, how: int) -> bool:
    """Whether this handle has the lock now, without waiting for it."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _removed(path: Path) -> bool:
    """Whether a file was in use by no living process, and is gone now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        is_free = _try_lock(handle, fcntl.LOCK_EX)
        if is_free:
            path.unlink()
        return is_free
    finally:
        os.close(handle)


def _is_named(path: Path, handle: int) -> bool:
    """Whether a path still names the file of a handle."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(handle))
    return False
