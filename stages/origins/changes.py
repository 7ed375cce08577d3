"""What changed in the files of a source since it was pinned, by file.

Paths and sizes are compared always. Contents are compared by digests that this machine remembers for the version of a
file, else by reading, up to a limit: a plan must not read terabytes. `neo pin --check` reads everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stages.contract import PinnedFile
from stages.origins.digests import DigestMemory
from stages.origins.files import open_place
from stages.origins.pinning import Pin, Selected, digest_files, select
from stages.origins.places.folder import FolderPlace
from stages.origins.places.place import ListedFile

MAX_NAMED = 5
"""Changed files that a message names."""


@dataclass(frozen=True)
class Thoroughness:
    """How contents are compared."""

    max_bytes: int | None = None
    """Bytes that are read at most, where digests are not remembered; None reads what it takes."""
    reread: bool = False
    """Read every file, whatever is remembered or stated of it."""
    memory: Path | None = None
    """The file of remembered digests; None is the user's."""


def differences(was: Pin, base: Path, how: Thoroughness) -> list[str]:
    """A line for each of the first files that differ, are missing or new; empty if nothing is different.

    A place whose files cannot change under their names is asked only where `how` says to read again. Raises
    `StageError` where the place cannot be looked at.
    """
    if open_place(was.place_from(base)).is_immutable and not how.reread:
        return []
    selected = select(was.uri, base)
    before = {file.path: file for file in was.files}
    now = {file.path for file in selected.files}
    new = [f"{path} is new" for path in sorted(now - set(before))]
    return _shortened([*_changed(selected, before, how), *new])


def changed_files(place: str, files: Sequence[PinnedFile], how: Thoroughness) -> list[str]:
    """A line for each of the first of these files that is missing or differs in a local place.

    Another place is not asked: its files are read with the entity tags that they had.
    """
    opened = open_place(place)
    if not isinstance(opened, FolderPlace):
        return []
    listed = tuple(found for file in files if (found := _listed(opened, file.path)) is not None)
    return _shortened(list(_changed(Selected(opened, listed), {file.path: file for file in files}, how)))


def _listed(place: FolderPlace, path: str) -> ListedFile | None:
    try:
        return place.listed(path)
    except FileNotFoundError:
        return None


def _changed(selected: Selected, before: Mapping[str, PinnedFile], how: Thoroughness) -> Iterator[str]:
    """Pinned files that are missing, have another size, or, if there is none of these, other content."""
    now = {file.path: file for file in selected.files if file.path in before}
    lines = [f"{path} is missing" for path in before if path not in now]
    for path, file in now.items():
        if file.size_bytes != before[path].size_bytes:
            lines.append(f"{path} has {file.size_bytes:,} bytes, {before[path].size_bytes:,} were pinned")
    return iter(lines) if lines else _other_contents(Selected(selected.place, tuple(now.values())), before, how)


def _other_contents(selected: Selected, before: Mapping[str, PinnedFile], how: Thoroughness) -> Iterator[str]:
    """Files of equal size whose bytes are others, or may be: a large one that was written since it was digested."""
    memory = Path(os.devnull) if how.reread else how.memory
    unknown: list[ListedFile] = []
    written: list[ListedFile] = []
    with closing(DigestMemory(memory)) as remembered:
        for file in selected.files:
            known = remembered.recall(selected.place.url, file)
            is_tagged = not how.reread and file.etag and file.etag == before[file.path].etag
            if known is None and not is_tagged:
                unknown.append(file)
                if remembered.knows_other_version(selected.place.url, file):
                    written.append(file)
            elif known is not None and known.sha256 != before[file.path].sha256:
                yield f"{file.path} has other content than was pinned"
    if how.max_bytes is not None and sum(file.size_bytes for file in unknown) > how.max_bytes:
        yield from (f"{file.path} was written since it was pinned" for file in written)
        return
    for now in digest_files(Selected(selected.place, tuple(unknown)), memory, lambda *_: None):
        if now.sha256 != before[now.path].sha256:
            yield f"{now.path} has other content than was pinned"


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MAX_NAMED else [*lines[:MAX_NAMED], f"and {len(lines) - MAX_NAMED:,} further files"]
