"""Digests of files that were computed before, remembered by the file's version.

A file in the user's cache folder (`$XDG_CACHE_HOME/neo/digests.sqlite`, else `~/.cache/neo/`). It decides nothing that
could not be computed again: losing it costs time.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stages.origins.places.place import ListedFile


@dataclass(frozen=True, slots=True)
class Digested:
    """What reading a file told."""

    sha256: str
    num_rows: int | None


class DigestMemory:
    """Remembered digests. One that cannot be opened remembers nothing."""

    def __init__(self, path: Path | None = None) -> None:
        file = path or _default_file()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=10, isolation_level=None)
            self._create()
        except (OSError, sqlite3.Error):
            self._database = sqlite3.connect(":memory:", isolation_level=None)
            self._create()

    def recall(self, place: str, file: ListedFile) -> Digested | None:
        """The digest of this version of a file; None if it is not known, or nothing tells versions apart."""
        if not file.version:
            return None
        with suppress(sqlite3.Error):
            key = (f"{place}/{file.path}", file.size_bytes, file.version)
            query = "SELECT sha256, num_rows FROM digests WHERE file = ? AND size_bytes = ? AND version = ?"
            row = self._database.execute(query, key).fetchone()
            return None if row is None else Digested(*row)
        return None

    def knows_other_version(self, place: str, file: ListedFile) -> bool:
        """Whether an earlier version of a file was digested on this machine, and this one was not."""
        with suppress(sqlite3.Error):
            query = "SELECT version FROM digests WHERE file = ?"
            row = self._database.execute(query, (f"{place}/{file.path}",)).fetchone()
            return row is not None and row[0] != file.version
        return False

    def keep(self, place: str, file: ListedFile, found: Digested) -> None:
        """Remember the digest of this version of a file, in place of an earlier one."""
        if file.version:
            with suppress(sqlite3.Error):
                row = (f"{place}/{file.path}", file.size_bytes, file.version, found.sha256, found.num_rows)
                self._database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _create(self) -> None:
        self._database.execute("PRAGMA synchronous=OFF")  # a lost entry costs one more reading
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS digests "
            "(file TEXT PRIMARY KEY, size_bytes INTEGER, version TEXT, sha256 TEXT, num_rows INTEGER)"
        )


def _default_file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "neo" / "digests.sqlite"
