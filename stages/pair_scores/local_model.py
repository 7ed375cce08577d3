"""The files of a model that scores, on this machine: where they lie, or copied once for all its processes.

A folder that this machine sees is used where it is. Files of an object store or a hub are copied into a folder of this
user below that for temporary files, under the digest of their source, and compared with their pinned digests; they stay
there until somebody removes them. Only settings, a tokenizer and safetensors are taken: no pickle and no code is
opened.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from filelock import FileLock

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.origins.files import copy_file, open_place
from stages.store.private_folder import temporary_folder

TAKEN_ENDINGS: Final = (".json", ".txt", ".safetensors")
"""Endings of the files that are taken of a source."""


def taken_files(source: PinnedSource) -> list[PinnedFile]:
    """The files at the root of a source that are taken."""
    return [file for file in source.files if "/" not in file.path and file.path.endswith(TAKEN_ENDINGS)]


def local_model(source: PinnedSource) -> Path:
    """A folder on this machine with the files of a source. Raises `StageError` where one is not as it was pinned."""
    files, place = taken_files(source), open_place(source.place)
    if not files:
        raise StageError(f"source {source.name!r} has no file that ends with {', '.join(TAKEN_ENDINGS)} at its root")
    paths = [path for path in (place.local_path(file.path) for file in files) if path is not None]
    folders = {path.parent for path in paths}
    if len(paths) == len(files) and len(folders) == 1:
        return folders.pop()
    named = hashlib.sha256("".join(f"{file.path} {file.sha256}\n" for file in files).encode()).hexdigest()
    root = temporary_folder("neo-models")
    folder = root / named[:32]
    with FileLock(root / f"{named[:32]}.lock"):
        if not folder.is_dir():
            draft = Path(tempfile.mkdtemp(dir=root))
            for file in files:
                copy_file(source.name, source.place, file, draft / file.path)
            shutil.move(draft, folder)
    return folder
