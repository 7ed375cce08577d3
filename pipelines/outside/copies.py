"""A copy of an artifact in a folder, or links to its files: all of them, or those that are asked for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.copy_record import write_record
from pipelines.outside.held_files import held_files, in_words
from pipelines.outside.placing import Ended, How, PlacedPath, Placer
from pipelines.outside.target_folder import open_target
from pipelines.screen.byte_progress import size_in_words
from stages.artifacts.artifact import Artifact

Progress: TypeAlias = Callable[[int], AbstractContextManager[Callable[[int], object]]]
"""Opens a display of progress for a number of bytes."""
HELP: Final = "neo get --help"


@dataclass(frozen=True)
class CopiedFiles:
    """What a copy came to."""

    num_files: int
    """Files in the folder that are those of the artifact."""
    size_bytes: int
    """Bytes of these files."""
    ended: Counter[Ended]
    """How these files came there: how many were copied, linked, or there already."""


def copy_artifact(
    artifact: Artifact, folder: Path, *, patterns: Sequence[str], how: How, progress: Progress
) -> CopiedFiles:
    """Put the files of an artifact that match `patterns` into `folder`; without patterns see `held_files`.

    A folder that holds files of it already is completed, and its files are verified if it was complete. Raises
    `RefusedError` and `BadCommandError` before anything is copied where that is known then.
    """
    if how != "copy" and artifact.store.folder is None:
        raise RefusedError(
            f"the store {artifact.store.url} is remote: links can lead to files of a local store alone; leave the "
            "option out, and files are copied",
            then=HELP,
        )
    sizes = [file.entry.size_bytes for file in held_files(artifact, patterns)]
    if not sizes:
        told = f" whose path matches {' or '.join(map(repr, patterns))}" if patterns else ""
        raise BadCommandError(f"{in_words(artifact)} has no file{told}", then=f"neo files {artifact.short}")
    about = {"artifact": f"{artifact.stage}/{artifact.short}", "content": artifact.head.content, "layout": "files"}
    with open_target(folder, about, artifact.store, HELP) as target:
        if how == "copy":
            check_space(folder, _missing_bytes(artifact, patterns, folder), HELP)
        if not target.was_finished or _missing_bytes(artifact, patterns, folder):
            target.begin()
        placer = Placer(artifact, target, how)
        files = (PlacedPath(file.path, file.entry) for file in held_files(artifact, patterns))
        with progress(sum(sizes)) as told_bytes:
            ended = placer.place_all(files, told_bytes)
        write_record(artifact, folder, patterns)
        target.finish()
    return CopiedFiles(len(sizes), sum(sizes), ended)


def check_space(folder: Path, needed_bytes: int, then: str) -> None:
    """Raise `RefusedError` where the disk under `folder` has less room than is needed."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise RefusedError(
            f"{folder} needs {size_in_words(needed_bytes)}, and its disk has {size_in_words(free_bytes)} free; make "
            "room, or name a folder on another disk",
            then=then,
        )


def _missing_bytes(artifact: Artifact, patterns: Sequence[str], folder: Path) -> int:
    """Bytes of the files that are not in the folder yet."""
    files = held_files(artifact, patterns)
    return sum(file.entry.size_bytes for file in files if not (folder / file.path).exists())
