"""A tracker that is a SQLite file: its path, and the lock that lets one process at a time open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite tracker, or None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


@contextmanager
def one_process_at_a_time(uri: str) -> Iterator[None]:
    """Hold a file lock while a SQLite tracker is opened; a server needs none.

    MLflow creates the tables of a new file at the first connection; of several processes that connect at once, all but
    one would fail.
    """
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    from filelock import FileLock  # it loads asyncio, which start-up does without

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        yield
