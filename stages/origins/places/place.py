"""What a place offers: its files listed, and ranges of their bytes.

Owns the interface that folders, object stores, web servers, hubs and the toy world fulfil.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as a listing shows it, without its bytes."""

    path: str
    """Path relative to the place, with `/` between folders."""
    size_bytes: int
    version: str = ""
    """What changes when the file does: modification time and inode of a local file, the entity tag of another; '' where
    nothing tells."""
    etag: str = ""
    """Entity tag of an object store or web server, by which a later read notices another version; '' without one."""
    sha256: str = ""
    """Digest of the bytes, where the place states it; '' where it must be computed."""


class Place(Protocol):
    """A folder, or what is like one."""

    @property
    def url(self) -> str:
        """Name of the place, from which `stages.origins.files.open_place` makes it again."""

    @property
    def is_immutable(self) -> bool:
        """Whether the files cannot change under their names, so that nothing has to be compared later."""

    def list_files(self) -> Iterator[ListedFile]:
        """All files below the place, in no order; names that begin with a dot are left out."""

    def size_bytes(self, path: str) -> int | None:
        """Size of a file, or None if there is none."""

    def read_range(self, path: str, start: int, length: int, etag: str = "") -> bytes:
        """`length` bytes of a file from offset `start`; with an `etag`, of that version only.

        Raises FileNotFoundError, and `StoreError` where the file ends early or is another version.
        """

    def local_path(self, path: str) -> Path | None:
        """Where the file lies on this machine; None if it does not."""


def is_hidden(path: str) -> bool:
    """Whether a path leads through a name that begins with a dot, or is a mark of Spark's."""
    return any(name.startswith(".") or name == "_SUCCESS" for name in path.split("/"))
