"""Reads files of an earlier phase of the same artifact, by their records.

The artifact has no manifest yet, so it cannot be opened as an `Artifact`; the checks and messages are the same.
"""

from __future__ import annotations

from stages.artifacts.artifact import mended_by
from stages.artifacts.manifest import owner_of
from stages.artifacts.records import FileEntry, PartRecord
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store


def read_file(store: Store, record: PartRecord, name: str) -> bytes:
    """The bytes of the file `name` of a part. Raises `StoreError` where it is missing or has another size."""
    return read_entry(store, record.file(name))


def read_entry(store: Store, entry: FileEntry) -> bytes:
    """The bytes of a file by its entry in a record. Raises `StoreError` like `read_file`."""
    data = store.read(entry.key)
    if data is None or len(data) != entry.size_bytes:
        actual = "missing" if data is None else f"{len(data)} bytes"
        raise damaged(entry.key, f"is {actual}, {entry.size_bytes} bytes were recorded")
    return data


def read_stretch(store: Store, key: str, start: int, length: int) -> bytes:
    """`length` bytes of a file from offset `start`. Raises `StoreError` where it is missing or ends before."""
    try:
        return store.read_range(key, start, length)
    except (FileNotFoundError, CutShortError) as error:
        raise damaged(key, f"cannot be read from byte {start} on: {error}") from error


def damaged(key: str, damage: str) -> StoreError:
    """The error for a file of an earlier phase that is not as it was recorded; `damage` follows the key."""
    return StoreError(f"{key} {damage}; {mended_by(owner_of(key))}")
