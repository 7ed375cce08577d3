"""Objects of a store as local files: the file itself in a local folder, a copy of an object store's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from stages.store.errors import local_disk_errors
from stages.store.file_cache import FileCache, machine_cache
from stages.store.reader import CHUNK_BYTES, StoreReader


@contextmanager
def local_file(store: StoreReader, key: str, size_bytes: int, cache: FileCache | None = None) -> Iterator[Path]:
    """A local file with the object's bytes, which stays there within this context; `size_bytes` were committed.

    The object itself in a local folder, else a copy in `cache`, by default that of this machine. Raises
    FileNotFoundError if there is no such object. The caller checks the size: the object may have another.
    """
    if store.folder is not None:
        path = store.folder / key
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing from the store {store.url}")
        yield path
        return
    name = hashlib.sha256(f"{store.url}\n{key}".encode()).hexdigest()[:32]
    with (cache or machine_cache()).file(name, size_bytes, partial(_write, store, key)) as path:
        yield path


def copy_object(store: StoreReader, key: str, target: Path) -> None:
    """Copy an object into a local file, past the cache. Raises FileNotFoundError if there is no such object."""
    if store.folder is not None:
        shutil.copyfile(store.folder / key, target)
        return
    try:
        with local_disk_errors(target.parent), target.open("wb") as file:
            _write(store, key, file)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(store: StoreReader, key: str, file: BinaryIO) -> None:
    size_bytes = store.size_bytes(key)
    if size_bytes is None:
        raise FileNotFoundError(f"{key} is missing from the store {store.url}")
    for start in range(0, size_bytes, CHUNK_BYTES):
        file.write(store.read_range(key, start, min(CHUNK_BYTES, size_bytes - start)))
