"""Puts files of an artifact into a folder: copies that are verified as they are written, or links.

A file has its path in the folder only when it is whole: it is written under another name, hashed on its way, flushed
to the disk, and renamed. What was written before a stop is hashed again and continued.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final, Literal, NamedTuple

from pipelines.exits import RefusedError
from pipelines.outside.held_files import in_words
from pipelines.outside.target_folder import TargetFolder
from stages.artifacts.artifact import Artifact
from stages.artifacts.records import FileEntry, sha256_of
from stages.formats.read_ahead import ahead
from stages.store.errors import CutShortError, local_disk_errors
from stages.store.reader import CHUNK_BYTES

How = Literal["copy", "link", "hard link"]
"""How a file comes into a folder. A link costs no bytes, and leads to the file in the store itself."""
Ended = Literal["copied", "linked", "there"]
"""How a file ended: `there` is one that was in its place already."""
NUM_WRITERS: Final = 8
"""Files that are copied at a time, a chunk of 16 MiB of each in memory."""


class PlacedPath(NamedTuple):
    """A file of an artifact, and where it belongs in a folder."""

    path: str
    """Path in the folder."""
    entry: FileEntry
    """The file."""


@dataclass(frozen=True)
class Placer:
    """Puts files of one artifact into one folder."""

    artifact: Artifact
    """The artifact that holds the files."""
    target: TargetFolder
    """Where they go."""
    how: How = "copy"
    """How each file comes there."""
    stop: Event = field(default_factory=Event)
    """Ends copies after the chunk that they are at."""

    def place_all(self, files: Iterable[PlacedPath], told: Callable[[int], object]) -> Counter[Ended]:
        """Put all files in their places, several at a time; returns how many ended how.

        `told` is called with the number of bytes of each piece that was written, linked or found, from any thread.
        Raises `RefusedError` where another file is in a place, and `StoreError` where a file of the store is damaged.
        """
        ended: Counter[Ended] = Counter()
        with local_disk_errors(self.target.path):
            for one in ahead(lambda file: self.place(file, told), files, NUM_WRITERS, at_end=self.stop.set):
                ended[one] += 1
        return ended

    def place(self, file: PlacedPath, told: Callable[[int], object] = bool) -> Ended:
        """Put one file in its place. Raises like `place_all`."""
        path = self.target.path / file.path
        if os.path.lexists(path):
            self._check_present(path, file.entry)
            told(file.entry.size_bytes)
            return "there"
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.how == "copy":
            self._copy(file, path, told)
            return "copied"
        self._link(file.entry, path)
        told(file.entry.size_bytes)
        return "linked"

    def _check_present(self, path: Path, entry: FileEntry) -> None:
        """Raise `RefusedError` unless the file at `path` is the committed one.

        Its bytes are read only if the folder was complete before: until then, this command alone gave files their
        paths, once their digests were right.
        """
        committed = self.artifact.store.folder and self.artifact.store.folder / entry.key
        if committed and path.exists() and path.samefile(committed):
            return
        has_its_size = path.is_file() and path.stat().st_size == entry.size_bytes
        if has_its_size and (not self.target.was_finished or sha256_of(path) == entry.sha256):
            return
        raise RefusedError(
            f"{path} is there already, and is not the file that {in_words(self.artifact)} holds; remove it, or name "
            "a new folder",
            then=self.target.then,
        )

    def _link(self, entry: FileEntry, path: Path) -> None:
        with self.artifact.local_file(entry) as committed:
            if self.how == "link":
                path.symlink_to(committed.absolute())
                return
            try:
                path.hardlink_to(committed)
            except OSError as error:
                raise RefusedError(
                    f"{path.parent} and the store {self.artifact.store.url} cannot share a file ({error.strerror}); "
                    "links by path can be made with --link",
                    then=self.target.then,
                ) from error

    def _copy(self, file: PlacedPath, path: Path, told: Callable[[int], object]) -> None:
        """Copy a file; what is left of an earlier copy that was broken off is continued, or else written again."""
        draft = self.target.partial / hashlib.sha256(file.path.encode()).hexdigest()
        was_begun = draft.exists()
        found = self._write(file.entry, draft, told)
        if found != file.entry.sha256 and was_begun:
            draft.unlink()
            found = self._write(file.entry, draft, bool)
        if found != file.entry.sha256:
            draft.unlink()
            raise self.artifact.damaged(
                file.entry.key, f"has the sha256 {found[:12]}, {file.entry.sha256[:12]} was committed"
            )
        draft.replace(path)

    def _write(self, entry: FileEntry, draft: Path, told: Callable[[int], object]) -> str:
        """Write the bytes of a file behind those that `draft` has; returns the digest of all of them."""
        digest = hashlib.sha256()
        with draft.open("a+b") as file:
            if file.tell() > entry.size_bytes:
                file.truncate(0)
            file.seek(0)
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                told(len(chunk))
            for start in range(file.tell(), entry.size_bytes, CHUNK_BYTES):
                if self.stop.is_set():
                    raise InterruptedError("the command was stopped")
                chunk = self._read(entry, start)
                file.write(chunk)
                digest.update(chunk)
                told(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _read(self, entry: FileEntry, start: int) -> bytes:
        try:
            length = min(CHUNK_BYTES, entry.size_bytes - start)
            return self.artifact.store.read_range(entry.key, start, length)
        except FileNotFoundError as error:
            raise self.artifact.damaged(entry.key, "is missing") from error
        except CutShortError as error:
            raise self.artifact.damaged(entry.key, f"is cut short ({error})") from error
