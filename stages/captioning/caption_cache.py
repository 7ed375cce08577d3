"""Answers that this machine got already, so that a resumed part asks nothing twice.

An SQLite file that all processes of a user share on the machine, in a folder of the user's own below that for temporary
files, or where `NEO_CAPTION_CACHE` says. It saves money and decides nothing: without it the same is asked again.
Another machine has a cache of its own: of a part that moves on, the answers are asked again unless they are shared
(`shared_answers.py`); parts that are recorded never are. A caption of 200 characters takes some 300 bytes: a million
are 300 MB. Remove the file when a run is done.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stages.captioning.shared_answers import SharedAnswers
from stages.contract import StageError
from stages.store.private_folder import temporary_folder

CACHE_VARIABLE: Final = "NEO_CAPTION_CACHE"
"""Environment variable with the path of the cache's file."""
BUSY_SECONDS: Final = 60.0
"""How long a process waits for another that writes."""


class CaptionCache:
    """Answers by their keys, open within a context."""

    def __init__(self, shared: SharedAnswers | None = None) -> None:
        self.path = cache_path()
        self._shared = shared
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")
            self._run("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB) WITHOUT ROWID")
        except OSError as error:
            raise self._unusable(error) from error
        for key, answer in self._shared.read() if self._shared else ():
            self._keep(key, answer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if self._shared is not None:
                self._shared.flush()
        finally:
            if self._database is not None:
                self._database.close()

    def get(self, key: bytes) -> bytes | None:
        """The answer under a key, or None. Where answers are shared, others get what only this machine had."""
        row = self._run("SELECT answer FROM answers WHERE key = ?", key)
        if row is not None and self._shared is not None:
            self._shared.add(key, bytes(row[0]))
        return None if row is None else bytes(row[0])

    def put(self, key: bytes, answer: bytes) -> None:
        """Keep an answer, for others as well where answers are shared; the first one under a key stays."""
        self._keep(key, answer)
        if self._shared is not None:
            self._shared.add(key, answer)

    def _keep(self, key: bytes, answer: bytes) -> None:
        self._run("INSERT OR IGNORE INTO answers VALUES (?, ?)", key, answer)

    def _run(self, statement: str, *values: bytes) -> tuple[bytes, ...] | None:
        assert self._database is not None, "open the cache as a context first"
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                row: tuple[bytes, ...] | None = cursor.fetchone()
            return row
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StageError:
        return StageError(
            f"the cache of captions {self.path} cannot be used ({error}); remove the file, or name another in "
            f"{CACHE_VARIABLE}"
        )


def cache_path() -> Path:
    """The file of this machine's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else temporary_folder("neo-captions") / "answers.sqlite"
