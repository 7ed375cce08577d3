"""Local folders as places."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from stages.contract import StageError
from stages.origins.places.place import ListedFile, is_hidden
from stages.store.errors import CutShortError


class FolderPlace:
    """A folder on this machine, or on a file system that all machines share."""

    is_immutable = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def list_files(self, max_depth: int | None = None) -> Iterator[ListedFile]:
        """Every file below the folder, or at most `max_depth` folders below it.

        Links to folders are followed, each folder once and real ones first, so that names do not depend on the disk.
        Raises `StageError` for a link to nothing and for a name that is no UTF-8.
        """
        root = self.folder.stat()
        seen = {(root.st_dev, root.st_ino)}
        waiting = deque([("", 0)])
        while waiting:
            below, depth = waiting.popleft()
            with os.scandir(self.folder / below) as scanned:
                entries = sorted(scanned, key=lambda entry: (entry.is_symlink(), entry.name))
            for entry in entries:
                path = f"{below}{entry.name}"
                if is_hidden(path):
                    continue
                if entry.is_dir():
                    status = entry.stat()
                    if (status.st_dev, status.st_ino) not in seen and (max_depth is None or depth < max_depth):
                        seen.add((status.st_dev, status.st_ino))
                        waiting.append((f"{path}/", depth + 1))
                elif entry.is_file():
                    yield _listed(_spellable(path), entry.stat())
                elif entry.is_symlink():
                    raise StageError(f"{self.folder / path} is a link to nothing: fetch the file, or remove the link")

    def listed(self, path: str) -> ListedFile:
        """One file, without a walk through the folder. Raises FileNotFoundError."""
        return _listed(path, (self.folder / path).stat())

    def size_bytes(self, path: str) -> int | None:
        file = self.folder / path
        return file.stat().st_size if file.is_file() else None

    def read_range(self, path: str, start: int, length: int, etag: str = "") -> bytes:  # noqa: ARG002
        with (self.folder / path).open("rb") as file:
            file.seek(start)
            data = file.read(length)
        if len(data) != length:
            raise CutShortError(f"{self.folder / path} ends at byte {start + len(data)}, not {start + length}")
        return data

    def local_path(self, path: str) -> Path | None:
        return self.folder / path


def _spellable(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise StageError(f"the file name {path!r} is no UTF-8; rename the file") from error
    return path


def _listed(path: str, status: os.stat_result) -> ListedFile:
    return ListedFile(path, status.st_size, version=f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}")
