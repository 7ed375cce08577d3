"""The files that an artifact holds, and the path of each in a copy of it.

Owns these paths: files of a model have the names that they have in its folder (`config.json`), every other file is at
`<phase>/<part>/<name>`. The parts are read one at a time, so memory does not grow with their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import MODEL_PREFIX, ModelFolder
from stages.artifacts.records import FileEntry
from stages.store.errors import StoreError

UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\\\]")
"""Characters that no path has: NUL and other control characters, line breaks, half characters, backslashes."""


@dataclass(frozen=True)
class HeldFile:
    """One file of an artifact."""

    path: str
    """Path in a copy of the artifact, such as `config.json` or `write/00000/rows.tar`."""
    phase: str
    """Name of the phase that made it."""
    part: str
    """Name of the part that it is a file of."""
    entry: FileEntry
    """Size, digest, and where the bytes lie in the store."""


def held_files(artifact: Artifact, patterns: Sequence[str] = ()) -> Iterator[HeldFile]:
    """The files of an artifact whose path matches one of `patterns`, in its order, by name within a part.

    `*` in a pattern stands for any characters, `/` among them. Without patterns: the model of an artifact that holds
    one, which leaves out the state of its training; else every file. Raises `StoreError` for a path that no folder
    can have, or that leads out of it.
    """
    for file, is_wanted in all_files(artifact, patterns):
        if is_wanted:
            _check(artifact, file.path)
            yield file


def all_files(artifact: Artifact, patterns: Sequence[str] = ()) -> Iterator[tuple[HeldFile, bool]]:
    """Every file of an artifact, in the order of the manifest and by name within a part, and whether `held_files`
    gives it."""
    models = _model_files(artifact)
    for record in artifact.each_part():
        for entry in sorted(record.files, key=lambda entry: entry.name):
            is_model = entry.key in models
            path = copied_path(record.phase, record.part, entry.name, is_model=is_model)
            is_wanted = any(fnmatchcase(path, one) for one in patterns) if patterns else is_model or not models
            yield HeldFile(path, record.phase, record.part, entry), is_wanted


def copied_path(phase: str, part: str, name: str, *, is_model: bool) -> str:
    """The path of a file in a copy. `is_model` is whether it is a file of the model that the artifact holds."""
    return name.removeprefix(MODEL_PREFIX) if is_model else f"{phase}/{part}/{name}"


def path_problem(path: str) -> str:
    """Why a path cannot be that of a file in a folder, as a phrase that follows it; '' where it can.

    >>> path_problem("sub/../../secret"), path_problem("a//b"), path_problem("sub/a.json")
    ('leads out of the folder', 'has an empty part', '')
    """
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        return "leads out of the folder"
    if "" in parts or "." in parts:
        return "has an empty part"
    return "has a control character or a backslash" if UNUSABLE.search(path) else ""


def in_words(artifact: Artifact) -> str:
    """An artifact in a sentence: `Rows pack_rows/0123456789ab`, whatever it was opened as."""
    return f"{artifact.head.kind} {artifact.stage}/{artifact.short}"


def location(artifact: Artifact, entry: FileEntry) -> str:
    """Where the bytes of a file lie: a path of this machine, or a URL."""
    return f"{artifact.store.url}/{entry.key}"


def _model_files(artifact: Artifact) -> set[str]:
    """The keys of the files of the model that an artifact holds."""
    if not artifact.head.holds_model:
        return set()
    return {entry.key for entry in artifact.as_kind(ModelFolder).model_files}


def _check(artifact: Artifact, path: str) -> None:
    if problem := path_problem(path):
        raise StoreError(f"{in_words(artifact)} has a file at {path!r}, which {problem}; it is not copied")
