"""The folder that files of an artifact are copied into: what it holds, who writes there, and whether it is complete.

    FOLDER/.neo/about.json    what the folder holds: the artifact, and in which layout
    FOLDER/.neo/unfinished    is there from the first file until the last is in its place
    FOLDER/.neo/lock          locked by the command that writes there; the kernel lets go of the locks of the dead
    FOLDER/.neo/lineage.json, files.jsonl   what a finished copy can be verified by (`copy_record.py`)
    FOLDER/.neo/partial/      files that are being written; each is renamed to its path once its digest is right

A folder is new, empty, or holds the same already: then it is continued. Nothing else is ever written into.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.exits import RefusedError
from stages.store.store import Store

HIDDEN: Final = ".neo"
"""Folder in which a copy keeps its records. Loaders of models and data leave out hidden folders."""


@dataclass(frozen=True)
class TargetFolder:
    """A folder that this process alone writes into."""

    path: Path
    """The folder."""
    was_finished: bool
    """Whether it was complete when it was opened, so that its files may have been changed by others since."""
    then: str
    """The command to type after a refusal, `neo get --help`."""

    @property
    def partial(self) -> Path:
        """Where files are written before they have their path."""
        return self.path / HIDDEN / "partial"

    def begin(self) -> None:
        """Mark the folder as incomplete."""
        (self.path / HIDDEN / "unfinished").touch()

    def finish(self) -> None:
        """Mark the folder as complete."""
        shutil.rmtree(self.partial)
        (self.path / HIDDEN / "unfinished").unlink(missing_ok=True)


@contextmanager
def open_target(folder: Path, about: Mapping[str, str], store: Store, then: str) -> Iterator[TargetFolder]:
    """`folder`, to hold what `about` says, locked within this context. It is made where it is missing. `then` is the
    command to type after a refusal.

    Raises `RefusedError` where it holds anything else, where it lies inside the store, and where another command
    writes into it.
    """
    _check(folder, about, store, then)
    hidden = folder / HIDDEN
    try:
        (hidden / "partial").mkdir(parents=True, exist_ok=True)
        lock = (hidden / "lock").open("w")
    except OSError as error:
        raise RefusedError(f"{folder} cannot be written into: {error.strerror}", then=then) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(f"another command is writing into {folder}; wait for it", then=then) from error
        is_new = not (hidden / "about.json").exists()
        if is_new:
            (hidden / "unfinished").touch()
            draft = hidden / "about.draft"
            draft.write_text(json.dumps(dict(about), indent=2) + "\n")
            draft.replace(hidden / "about.json")
        yield TargetFolder(folder, was_finished=not (hidden / "unfinished").exists(), then=then)


def _check(folder: Path, about: Mapping[str, str], store: Store, then: str) -> None:
    """Raise `RefusedError` unless the folder is new, empty, or holds what `about` says."""
    if store.folder is not None and folder.resolve().is_relative_to(store.folder.resolve()):
        raise RefusedError(f"{folder} lies in the store {store.url}, which commands alone write into", then=then)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RefusedError(f"{folder} is a file; name a new folder", then=then)
    held = _held(folder, then)
    names = sorted(path.name for path in folder.iterdir() if path.name != HIDDEN)
    if held is None and names:
        raise RefusedError(
            f"{folder} is not empty (there is {names[0]!r}), and nothing is overwritten; name a new folder", then=then
        )
    if held is not None and held != dict(about):
        differing = [name for name in about if held.get(name) != about[name]]
        told = ", ".join(f"{name} {held.get(name)!r}, not {about[name]!r}" for name in differing)
        raise RefusedError(f"{folder} holds something else: {told}; name a new folder", then=then)


def _held(folder: Path, then: str) -> dict[str, str] | None:
    """What a folder holds by its own record; None where it has none. Raises `RefusedError` where it cannot be read."""
    path = folder / HIDDEN / "about.json"
    try:
        held = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be read ({error}); remove {folder}, or name another", then=then) from error
    return dict(held) if isinstance(held, dict) else {}
